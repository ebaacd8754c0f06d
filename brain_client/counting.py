"""Reads counts over as many pages as their groups take."""

from collections.abc import Sequence
from itertools import groupby

from brain.events.v1.events_pb2 import CountEventsRequest, EventCount
from brain.events.v1.events_pb2_grpc import EventsServiceStub

_LARGEST_PAGE = 1_000


def count(
    stub: EventsServiceStub, request: CountEventsRequest, limit: int
) -> tuple[Sequence[EventCount], str]:
    """Return every interval of the first `limit` groups, and the time zone of the intervals.

    Each page is exact at the moment it is read. Raises grpc.RpcError.
    """
    asked = CountEventsRequest()
    asked.CopyFrom(request)
    if request.group_by and not request.interval:  # with intervals the server knows how many groups fit
        asked.page_size = min(limit, _LARGEST_PAGE)
    found: list[EventCount] = []
    left = limit
    while True:
        reply = stub.CountEvents(asked)
        groups = [list(rows) for _, rows in groupby(reply.counts, _group)]
        found += (row for group in groups[:left] for row in group)
        left -= len(groups)
        if left <= 0 or not reply.next_page_token:
            return found, reply.time_zone
        asked.page_token = reply.next_page_token


def _group(row: EventCount) -> tuple[str | None, bytes]:
    return row.group if row.HasField("group") else None, row.user.SerializeToString()
