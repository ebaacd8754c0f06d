"""Appending deltas: what a transaction did to events, told to the roll-ups."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.calendar import HOUR_MICROS
from services.events.revision import mix64
from services.events.rollups.deltas import Groups, Inserted, group

if TYPE_CHECKING:
    from psycopg import Cursor

    from services.events.rollups.cover import ReportingCalendar

_DELTA = """
INSERT INTO event_deltas (first_hour, last_hour, payload) VALUES (%(first_hour)s, %(last_hour)s, %(payload)s)
"""


def groups_of(
    event_keys: NDArray[np.int32],
    user_keys: NDArray[np.int32],
    times: NDArray[np.int64],
    ids: bytes,
    values: NDArray[np.int64],
    calendar: "ReportingCalendar",
) -> Groups:
    """Reduce columns of at least one event: times in Unix µs, ids of 16 bytes each, values or NO_VALUE."""
    words = np.frombuffer(ids, ">u8").astype(np.uint64).reshape(-1, 2)
    return group(
        Inserted(
            event_keys=event_keys,
            user_keys=user_keys,
            values=values,
            shares=mix64(user_keys, times, (words[:, 0], words[:, 1])),
            days=calendar.days_of(times),
            hours=(times // HOUR_MICROS).astype(np.int32),
        )
    )


def append(cursor: "Cursor[tuple[Any, ...]]", groups: Groups) -> None:
    """Append groups, at least one, as a delta of the transaction."""
    cursor.execute(
        _DELTA,
        {
            "first_hour": int(groups.hours.min()),
            "last_hour": int(groups.hours.max()),
            "payload": groups.pack(),
        },
    )
