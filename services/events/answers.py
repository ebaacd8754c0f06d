"""Answers: what was found, as messages."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from brain.events.v1 import events_pb2 as pb
from numpy.typing import NDArray

from services.events.domain import VALUE_SCALE
from services.events.messages import to_reference
from services.events.reading.counting import Count, GroupCounts
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from services.events.domain import Who
    from services.events.questions import CountQuestion
    from services.events.reading.listing import Listing
    from services.events.reading.scanning import Chunk
    from services.events.whereabouts import Whereabouts

# A message of a scan stays below the 4 MiB that clients accept unless told otherwise.
MESSAGE_ROWS = 100_000
MESSAGE_BYTES = 3_500_000
# Groups are smaller than they may be: one is on its way while the next is being made.
GROUP_BYTES = 1_000_000


def ungrouped(counts: tuple[Count, ...]) -> GroupCounts:
    """Return counts without a break-down as the only group."""
    return GroupCounts(None, counts)


def of_people(listing: "Listing", people: "Sequence[Whereabouts | None]") -> "Listing":
    """Return a listing of the events of the first id's person that came with the second, if there is one.

    An anonymous id that was merged stands for what its user did under it. Nobody's events are listed where
    an id stands for nobody.
    """
    keys = [place.key if place else None for place in people]
    if None in keys:
        return replace(listing, user_keys=())
    first, *came_with = keys
    user = people[0].merged_into if people[0] else None
    if user is not None:
        return replace(listing, user_keys=(user,), anonymous_key=first)
    return replace(
        listing,
        user_keys=tuple(key for key in (first,) if key),
        anonymous_key=came_with[0] if came_with else None,
    )


def event_counts(
    question: "CountQuestion", groups: list[GroupCounts], people: "dict[int, Who]", now: int
) -> list[pb.EventCount]:
    """Return every interval of every group."""
    result = []
    for group in groups:
        if question.group_by == pb.COUNT_GROUP_USER and int(group.group or 0) not in people:
            continue  # erased since they were counted
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


def active_users(
    periods: Sequence[tuple[int, int]], users: list[int], now: int, group: str | None = None
) -> list[pb.ActiveUsers]:
    """Return the active people of each period."""
    return [
        pb.ActiveUsers(
            start_time=from_micros(start),
            end_time=from_micros(end),
            users=number,
            complete=end <= now,
            group=group,
        )
        for (start, end), number in zip(periods, users, strict=True)
    ]


def scan_messages(chunk: "Chunk", properties: Sequence[str]) -> Iterator[pb.ScanEventsResponse]:
    """Cut a chunk into messages."""
    rows = len(chunk.user_keys)
    for start in range(0, max(rows, 1), MESSAGE_ROWS):
        yield from _scan_messages(chunk, properties, start, min(start + MESSAGE_ROWS, rows))


def _scan_messages(
    chunk: "Chunk", properties: Sequence[str], start: int, end: int
) -> Iterator[pb.ScanEventsResponse]:
    """Yield the rows in one message, or in two halves where their properties make it too large."""
    message = pb.ScanEventsResponse(
        event=chunk.event,
        day=chunk.day,
        revision=chunk.revision,
        unchanged=chunk.unchanged,
        partial=end < len(chunk.user_keys),
        row_count=end - start,
        user_keys=_packed(chunk.user_keys[start:end], "<i4"),
        event_times=_packed(chunk.times[start:end], "<i8"),
        values=b"" if chunk.values is None else _packed(chunk.values[start:end], "<i8"),
        matches=b"" if chunk.matches is None else _packed(chunk.matches[start:end], "<u8"),
        properties=[
            _property(name, dictionary, codes[start:end])
            for name, (dictionary, codes) in zip(properties, chunk.properties, strict=False)
        ],
    )
    if message.ByteSize() <= MESSAGE_BYTES or end - start == 1:
        yield message
        return
    middle = (start + end) // 2
    yield from _scan_messages(chunk, properties, start, middle)
    yield from _scan_messages(chunk, properties, middle, end)


def grouped(messages: Iterable[pb.ScanEventsResponse]) -> Iterator[pb.ScanEventsResponse]:
    """Put messages together, as many as weigh less than GROUP_BYTES, or a heavier one."""
    group: list[pb.ScanEventsResponse] = []
    size = 0
    for message in messages:
        more = message.ByteSize()
        if group and size + more > GROUP_BYTES:
            yield pb.ScanEventsResponse(chunks=group)
            group, size = [], 0
        group.append(message)
        size += more
    if group:
        yield pb.ScanEventsResponse(chunks=group)


def _property(name: str, dictionary: list[str], codes: NDArray[np.int32]) -> pb.PropertyColumn:
    """Return a part of a column with the part of the dictionary that it uses."""
    used, own = np.unique(codes, return_inverse=True)
    absent = int(len(used) > 0 and used[0] < 0)
    return pb.PropertyColumn(
        property=name,
        dictionary_json=[dictionary[code] for code in used[absent:].tolist()],
        codes=_packed(own - absent, "<i4"),
    )


def _packed(column: NDArray[Any], kind: str) -> bytes:
    return column.astype(kind, copy=False).tobytes()
