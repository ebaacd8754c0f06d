"""When people were first active, from the events that are stored."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.events.distribution import Statement
from services.events.packed import columns, unix_times
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Looked up by one statement.
STATEMENT_KEYS = 20_000

# Partitions are looked through in the order of time, until one has an event of theirs.
_LOOK = """
SELECT string_agg(int4send(position::int4), '' ORDER BY position),
       string_agg(timestamptz_send(first_time), '' ORDER BY position)
FROM (
    SELECT position, (SELECT event_time FROM events WHERE user_key = wanted.user_key
                      ORDER BY event_time LIMIT 1) AS first_time
    FROM unnest(%(keys)s::int4[]) WITH ORDINALITY AS wanted(user_key, position)
) AS found
WHERE first_time IS NOT NULL
"""

_JOIN = """
SELECT string_agg(int4send(position::int4), '' ORDER BY position),
       string_agg(timestamptz_send(first_time), '' ORDER BY position)
FROM (
    SELECT position, min(event_time) AS first_time
    FROM unnest(%(keys)s::int4[]) WITH ORDINALITY AS wanted(user_key, position) JOIN events USING (user_key)
    GROUP BY position
) AS found
"""
_FIRST = Statement(here=_LOOK, spread=_JOIN)


def first_activity(engine: "Engine", user_keys: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the time (Unix µs) of each one's first event; the largest int64 where none is stored."""
    found = np.full(len(user_keys), np.iinfo(np.int64).max, np.int64)
    for start in range(0, len(user_keys), STATEMENT_KEYS):
        keys = user_keys[start : start + STATEMENT_KEYS].tolist()
        with engine.begin() as connection, driver_cursor(connection) as cursor:
            row = cursor.execute(_FIRST.of(connection).encode(), {"keys": keys}).fetchone()
        positions, times = row or (None, None)
        [places] = columns([positions], [">i4"])
        found[start + places.astype(np.intp) - 1] = unix_times(times)
    return found
