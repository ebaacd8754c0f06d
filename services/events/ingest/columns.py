"""A batch in which nothing is wrong, column by column: half the time that event by event takes.

Whatever is out of the ordinary (a field at fault, a time that the server must make) is left to the reading
event by event, which names it.
"""

from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING

from services.events.calendar import MICROS
from services.events.domain import UserKind, Who
from services.events.ingest.batch import (
    EARLIEST,
    MAXIMUM_AHEAD,
    MAXIMUM_VALUE,
    SECOND_NANOS,
    TEXT_LIMITS,
    Batch,
    properties_column,
    text_column,
)
from services.events.ingest.event_ids import all_canonical, stored_id
from services.events.ingest.properties import all_properties
from services.events.ingest.values import stored_value
from services.events.rollups.deltas import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brain.events.v1.events_pb2 import Event


def read_columns(events: "Sequence[Event]", now: int) -> Batch | None:
    """Return the events as they came, or None where one of them is out of the ordinary."""
    if not events:
        return Batch()
    texts = _texts(events)
    times = _times(events, now)
    values = _values(events)
    properties = all_properties(events)
    if texts is None or times is None or values is None or properties is None:
        return None
    names, sessions, users, anonymous, event_ids, categories, *described = texts
    ids, id_texts = _ids(event_ids)
    columns = (map(text_column, column) for column in (sessions, id_texts, *described))
    return Batch(
        indexes=list(range(len(events))),
        who=list(map(_who, users, anonymous, sessions)),
        anonymous=[
            (UserKind.ANONYMOUS, other) if other and user else None
            for user, other in zip(users, anonymous, strict=True)
        ],
        names=list(zip(names, categories, strict=True)),
        times=times,
        ids=ids,
        values=values,
        tails=list(map(b"".join, zip(*columns, map(properties_column, properties), strict=True))),
    )


def _who(user: str, anonymous: str, session: str) -> Who:
    if user:
        return UserKind.USER, user
    return (UserKind.ANONYMOUS, anonymous) if anonymous else (UserKind.SESSION, session)


def _texts(events: "Sequence[Event]") -> list[list[str]] | None:
    """Return the text fields in the order of their limits."""
    rows = [
        (
            event.event,
            event.session_id,
            event.user_id,
            event.anonymous_id,
            event.event_id,
            event.category,
            event.page,
            event.referrer,
            event.user_agent,
        )
        for event in events
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    for column, (least, greatest) in zip(columns, TEXT_LIMITS.values(), strict=True):
        lengths = list(map(len, column))
        if min(lengths) < least or max(lengths) > greatest:
            return None
    return None if "\0" in "".join(chain.from_iterable(columns)) else columns


def _times(events: "Iterable[Event]", now: int) -> list[int] | None:
    stamps = [event.event_time for event in events]  # 1970 where there is none, which is too early
    nanos = [stamp.nanos for stamp in stamps]
    times = [stamp.seconds * MICROS + part // 1000 for stamp, part in zip(stamps, nanos, strict=True)]
    if min(nanos) < 0 or max(nanos) >= SECOND_NANOS:
        return None
    return times if min(times) >= EARLIEST and max(times) <= now + MAXIMUM_AHEAD else None


def _values(events: "Sequence[Event]") -> list[int] | None:
    amounts = [event.value for event in events]
    if not isfinite(sum(amounts)) or min(amounts) < -MAXIMUM_VALUE or max(amounts) > MAXIMUM_VALUE:
        return None
    return [
        stored_value(amount) if amount or event.HasField("value") else NO_VALUE
        for amount, event in zip(amounts, events, strict=True)
    ]


def _ids(event_ids: list[str]) -> tuple[list[bytes], list[str]]:
    """Return the stored ids, and their texts where those do not say them."""
    stored = all_canonical(event_ids)
    if stored is not None:
        return stored, [""] * len(event_ids)
    pairs = [stored_id(event_id) for event_id in event_ids]
    texts = ["" if is_canonical else text for text, (_, is_canonical) in zip(event_ids, pairs, strict=True)]
    return [stored for stored, _ in pairs], texts
