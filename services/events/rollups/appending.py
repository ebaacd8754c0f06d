"""Appending deltas: what a transaction did to events, told to the roll-ups."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.revision import mix64
from services.events.rollups.deltas import Groups, Inserted
from shared.calendar import HOUR_MICROS

if TYPE_CHECKING:
    from psycopg import Cursor

    from services.events.rollups.cover import ReportingCalendar

# Nothing where the registrations of properties are not those of this version any more.
_DELTA = """
WITH current AS (SELECT FROM property_state WHERE version = %(version)s),
by_value AS (
    INSERT INTO value_deltas (first_hour, last_hour, payload)
    SELECT %(first_hour)s, %(last_hour)s, %(value_payload)s FROM current
    WHERE %(value_payload)s::bytea IS NOT NULL
)
INSERT INTO event_deltas (first_hour, last_hour, payload)
SELECT %(first_hour)s, %(last_hour)s, %(payload)s FROM current
"""


def stored_events(
    event_keys: NDArray[np.int32],
    user_keys: NDArray[np.int32],
    times: NDArray[np.int64],
    ids: bytes,
    values: NDArray[np.int64],
    calendar: "ReportingCalendar",
) -> Inserted:
    """Return columns of at least one event: times in Unix µs, ids of 16 bytes each, values or NO_VALUE."""
    words = np.frombuffer(ids, ">u8").astype(np.uint64).reshape(-1, 2)
    return Inserted(
        event_keys=event_keys,
        user_keys=user_keys,
        values=values,
        shares=mix64(user_keys, times, (words[:, 0], words[:, 1])),
        days=calendar.days_of(times),
        hours=(times // HOUR_MICROS).astype(np.int32),
    )


def append(cursor: "Cursor[tuple[Any, ...]]", groups: Groups, by_value: Groups | None, version: int) -> bool:
    """Append groups, at least one, as deltas of the transaction; those by value too, if there are any.

    Returns:
        Whether the version of the registered properties, which `by_value` was made with, is the current one;
        otherwise nothing was appended.

    """
    parameters = {
        "version": version,
        "first_hour": int(groups.hours.min()),
        "last_hour": int(groups.hours.max()),
        "payload": groups.pack(),
        "value_payload": None if by_value is None else by_value.pack(),
    }
    return cursor.execute(_DELTA, parameters).rowcount == 1
