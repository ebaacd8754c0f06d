"""Answers: what was found, as messages."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2 as pb

from services.events.messages import VALUE_SCALE, to_reference
from services.events.reading.counting import Count, GroupCounts
from services.events.reading.grouped import last_key
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from services.events.domain import Who
    from services.events.questions import CountQuestion
    from services.events.reading.listing import Listing
    from services.events.reading.scanning import Chunk

# Rows of one message of a scan: 1 to 3 MB, below every client's default limit of 4 MiB.
MESSAGE_ROWS = 100_000


def ungrouped(counts: tuple[Count, ...]) -> GroupCounts:
    """Return counts without a break-down as the only group."""
    return GroupCounts(None, counts)


def behind(groups: list[GroupCounts], after: tuple[int, str] | None) -> list[GroupCounts]:
    """Return the groups of the pages after a position."""
    if after is None:
        return groups
    return [group for group in groups if (-group.events, last_key(group)) > (-after[0], after[1])]


def for_users(listing: "Listing", user_key: int | None) -> "Listing":
    """Return a listing of one person's events; of nobody's for None."""
    return replace(listing, user_keys=() if user_key is None else (user_key,))


def event_counts(
    question: "CountQuestion", groups: list[GroupCounts], people: "dict[int, Who]", now: int
) -> list[pb.EventCount]:
    """Return every interval of every group."""
    result = []
    for group in groups:
        buckets = zip(question.buckets, question.bucket_ends, group.counts, strict=True)
        for (start, _), end, count in buckets:
            message = pb.EventCount(
                events=count.events,
                users=count.users,
                value_sum=count.value_sum / VALUE_SCALE,
                complete=end <= now,
                start_time=from_micros(start) if question.has_interval else None,
            )
            if question.group_by == pb.COUNT_GROUP_USER:
                message.user.CopyFrom(to_reference(people[int(group.group or 0)]))
            elif question.group_by and group.group is not None:
                message.group = group.group
            result.append(message)
    return result


def top_events(groups: list[GroupCounts], limit: int, *, with_users: bool) -> pb.GetTopEventsResponse:
    """Return the most frequent of the events, one bucket each."""
    total = sum(group.events for group in groups)
    return pb.GetTopEventsResponse(
        top_events=[
            pb.TopEvent(
                event=group.group or "",
                events=group.events,
                share_ratio=group.events / total,
                users=group.counts[0].users if with_users else None,
                value_sum=group.counts[0].value_sum / VALUE_SCALE,
            )
            for group in groups[:limit]
        ],
        total_events=total,
    )


def active_users(periods: Sequence[tuple[int, int]], users: list[int], now: int) -> list[pb.ActiveUsers]:
    """Return the active people of each period."""
    return [
        pb.ActiveUsers(
            start_time=from_micros(start), end_time=from_micros(end), users=number, complete=end <= now
        )
        for (start, end), number in zip(periods, users, strict=True)
    ]


def scan_messages(chunk: "Chunk", properties: Sequence[str]) -> Iterator[pb.ScanEventsResponse]:
    """Cuts a chunk into messages."""
    rows = len(chunk.user_keys)
    bounds = [*range(0, rows, MESSAGE_ROWS), rows] if rows else [0, 0]
    for start, end in pairwise(bounds):
        yield pb.ScanEventsResponse(
            event=chunk.event,
            day=chunk.day,
            revision=chunk.revision,
            unchanged=chunk.unchanged,
            partial=end < rows,
            row_count=end - start,
            user_keys=chunk.user_keys[start:end].astype("<i4", copy=False).tobytes(),
            event_times=chunk.times[start:end].astype("<i8", copy=False).tobytes(),
            values=b""
            if chunk.values is None
            else chunk.values[start:end].astype("<i8", copy=False).tobytes(),
            properties=[
                pb.PropertyColumn(
                    property=name,
                    dictionary_json=dictionary,
                    codes=codes[start:end].astype("<i4", copy=False).tobytes(),
                )
                for name, (dictionary, codes) in zip(properties, chunk.properties, strict=False)
            ],
        )
