"""Counting sessions again from raw events: for the keys whose events a merge or an erasure moved or took."""

from typing import TYPE_CHECKING, Any

import numpy as np

from services.events.packed import columns, unix_times
from services.events.sessions.folding import replace
from services.events.sessions.pending import unpacked
from services.events.sessions.runs import Runs
from services.events.sessions.tails import session_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor

# Waits for who folds. Beyond this row nobody changes sessions, or runs that are committed.
_LOCK = "SELECT FROM session_state FOR UPDATE"

# Raw events and the runs that wait, in one snapshot: what another transaction commits later brings its own
# runs. The kind of a row: 0 the events of one session id, 1 the runs of a transaction.
_READ = """
SELECT 0, 0::int8, session_id, string_agg(int4send(user_key), ''),
       string_agg(timestamptz_send(event_time), ''), string_agg(int4send((page IS NOT NULL)::int4), '')
FROM events WHERE user_key = ANY(%(user_keys)s::int4[]) GROUP BY session_id
UNION ALL
SELECT 1, delta_id, NULL, payload, NULL, NULL FROM session_deltas
"""

_STORED = """
SELECT string_agg(int4send(user_key), ''), string_agg(int8send(session_hash), ''),
       string_agg(int8send(start_time), ''), string_agg(int8send(end_time), ''),
       string_agg(int4send(events), ''), string_agg(int4send(pages), '')
FROM sessions WHERE user_key = ANY(%(user_keys)s::int4[])
"""

_KEEP = "UPDATE session_deltas SET payload = %(payload)s WHERE delta_id = %(delta_id)s"


def rebuild(cursor: "Cursor[tuple[Any, ...]]", user_keys: "Sequence[int]") -> None:
    """Make the sessions of some keys those of their raw events, as the caller's transaction sees these.

    Ingest may go on beside it; folding waits until the caller commits, so commit soon. The transaction must
    be READ COMMITTED, PostgreSQL's default: its statements see what was committed while it waited.
    """
    keys = {"user_keys": list(user_keys)}
    cursor.execute(_LOCK)
    rows = cursor.execute(_READ, keys).fetchall()
    events = [_runs(*row[2:]) for row in rows if row[0] == 0]
    for _, delta_id, _, payload, *_ in (row for row in rows if row[0] == 1):
        _leave_out(cursor, delta_id, Runs.unpack(payload), keys["user_keys"])
    replace(cursor, unpacked(cursor.execute(_STORED, keys)), Runs.join(events).merged())


def _runs(session_id: str, user_keys: bytes, times: bytes, has_page: bytes) -> Runs:
    users, pages = columns((user_keys, has_page), (">i4", ">i4"))
    hashes = np.repeat(session_hashes([session_id]), len(users))
    return Runs.of_events(users, unix_times(times), hashes, pages.astype(bool))


def _leave_out(cursor: "Cursor[tuple[Any, ...]]", delta_id: int, runs: Runs, user_keys: list[int]) -> None:
    kept = runs.take(~np.isin(runs.user_keys, user_keys))
    if len(kept) < len(runs):
        cursor.execute(_KEEP, {"delta_id": delta_id, "payload": kept.pack()})
