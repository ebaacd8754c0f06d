"""A batch in which nothing is wrong, column by column: half the time that event by event takes.

Whatever is out of the ordinary (a field at fault, a time that the server must make) is left to the reading
event by event, which names it.
"""

from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from services.events.domain import VALUE_SCALE, UserKind, Who
from services.events.ingest.batch import (
    EARLIEST,
    LENGTHS,
    MAXIMUM_AHEAD,
    MAXIMUM_VALUE,
    SECOND_NANOS,
    TEXT_LIMITS,
    Batch,
    properties_length,
)
from services.events.ingest.event_ids import all_canonical, stored_id
from services.events.ingest.properties import all_properties
from services.events.rollups.deltas import NO_VALUE
from shared.calendar import MICROS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brain.events.v1.events_pb2 import Event
    from google.protobuf.timestamp_pb2 import Timestamp

_FIELDS = attrgetter(*TEXT_LIMITS, "properties_json", "event_time", "value")


def read_columns(events: "Sequence[Event]", now: int) -> Batch | None:
    """Return the events as they came, or None where one of them is out of the ordinary."""
    if not events:
        return Batch()
    *texts, jsons, stamps, amounts = zip(*map(_FIELDS, events), strict=True)
    if not _fit(texts):
        return None
    times = _times(stamps, now)
    values = _values(events, amounts)
    properties = all_properties(events, jsons)
    if times is None or values is None or properties is None:
        return None
    names, sessions, users, anonymous, event_ids, categories, *described = texts
    ids, id_texts = _ids(event_ids)
    return Batch(
        indexes=list(range(len(events))),
        who=_who(users, anonymous, sessions),
        anonymous=[
            (UserKind.ANONYMOUS, other) if other and user else None
            for user, other in zip(users, anonymous, strict=True)
        ],
        names=list(zip(names, categories, strict=True)),
        times=times,
        ids=ids,
        values=values,
        tails=_tails([sessions, id_texts, *described], properties),
    )


def _who(users: "Sequence[str]", anonymous: "Sequence[str]", sessions: "Sequence[str]") -> list[Who]:
    if all(users):
        return list(zip(repeat(UserKind.USER), users, strict=False))
    return [
        (UserKind.USER, user)
        if user
        else (UserKind.ANONYMOUS, other)
        if other
        else (UserKind.SESSION, session)
        for user, other, session in zip(users, anonymous, sessions, strict=True)
    ]


def _tails(texts: "Sequence[Sequence[str]]", properties: "Sequence[bytes]") -> list[bytes]:
    """Return, for each event, its texts and properties behind their lengths."""
    parts: list[Iterable[bytes]] = []
    for column in texts:
        if any(column):
            encoded = list(map(str.encode, column))
            parts += map(LENGTHS.__getitem__, map(len, encoded)), encoded
        else:
            parts.append(repeat(LENGTHS[0], len(column)))
    parts += map(properties_length, map(len, properties)), properties
    return list(map(b"".join, zip(*parts, strict=True)))


def _fit(texts: "Sequence[Sequence[str]]") -> bool:
    """Tell whether every text, column by column in the order of the limits, is one that may be stored."""
    for column, (least, greatest) in zip(texts, TEXT_LIMITS.values(), strict=True):
        if max(map(len, column)) > greatest or (least and not all(column)):
            return False
    return "\0" not in "".join(map("".join, texts))


def _times(stamps: "Sequence[Timestamp]", now: int) -> list[int] | None:
    """Return Unix microseconds; an event without a time reads as 1970, which is too early."""
    nanos = [stamp.nanos for stamp in stamps]
    if min(nanos) < 0 or max(nanos) >= SECOND_NANOS:
        return None
    times = [stamp.seconds * MICROS + part // 1000 for stamp, part in zip(stamps, nanos, strict=True)]
    return times if min(times) >= EARLIEST and max(times) <= now + MAXIMUM_AHEAD else None


def _values(events: "Sequence[Event]", amounts: "Sequence[float]") -> list[int] | None:
    """Return millionths, as stored_value does for one, or NO_VALUE."""
    column = np.array(amounts)
    if not (np.abs(column) <= MAXIMUM_VALUE).all():  # not so for NaN
        return None
    whole = np.trunc(column)
    values = whole.astype(np.int64) * VALUE_SCALE + np.rint((column - whole) * VALUE_SCALE).astype(np.int64)
    absent = [row for row in np.flatnonzero(column == 0).tolist() if not events[row].HasField("value")]
    values[absent] = NO_VALUE
    stored: list[int] = values.tolist()
    return stored


def _ids(event_ids: "Sequence[str]") -> tuple[list[bytes], list[str]]:
    """Return the stored ids, and their texts where those do not say them."""
    stored = all_canonical(event_ids)
    if stored is not None:
        return stored, [""] * len(event_ids)
    pairs = [stored_id(event_id) for event_id in event_ids]
    texts = ["" if is_canonical else text for text, (_, is_canonical) in zip(event_ids, pairs, strict=True)]
    return [stored for stored, _ in pairs], texts
