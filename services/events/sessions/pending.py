"""Runs that transactions added and nobody has folded into sessions yet, and the sessions they may touch."""

from typing import TYPE_CHECKING, Any

from services.events.packed import columns
from services.events.sessions.runs import GAP_MICROS, Runs
from shared.packed_arrays import INT4, INT8, PackedArray

if TYPE_CHECKING:
    from psycopg import Cursor

_APPEND = "INSERT INTO session_deltas (last_time, payload) VALUES (%(last_time)s, %(payload)s)"

# Stored sessions of one key lie more than a gap apart. So those within a gap of a run are the last one that
# begins no later, if it reaches so far, and those that begin within the run or a gap behind it.
_NEIGHBOURS = f"""
SELECT string_agg(int4send(user_key), ''), string_agg(int8send(session_hash), ''),
       string_agg(int8send(start_time), ''), string_agg(int8send(end_time), ''),
       string_agg(int4send(events), ''), string_agg(int4send(pages), '')
FROM (
    SELECT DISTINCT stored.*
    FROM unnest(%(user_keys)b::int4[], %(session_hashes)b::int8[], %(starts)b::int8[], %(ends)b::int8[])
         AS run(user_key, session_hash, start_time, end_time)
    CROSS JOIN LATERAL (
        (SELECT * FROM sessions
         WHERE sessions.user_key = run.user_key AND sessions.session_hash = run.session_hash
           AND sessions.start_time <= run.start_time
         ORDER BY sessions.start_time DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM sessions
         WHERE sessions.user_key = run.user_key AND sessions.session_hash = run.session_hash
           AND sessions.start_time > run.start_time
           AND sessions.start_time <= run.end_time + {GAP_MICROS})
    ) AS stored
    WHERE stored.end_time >= run.start_time - {GAP_MICROS}
) AS neighbour
"""  # noqa: S608 - the gap is ours

_KINDS = (">i4", ">i8", ">i8", ">i8", ">i4", ">i4")


def append(cursor: "Cursor[tuple[Any, ...]]", runs: Runs) -> None:
    """Append the runs of the events that this transaction stores."""
    cursor.execute(_APPEND, {"last_time": int(runs.ends.max()), "payload": runs.pack()})


def neighbours(cursor: "Cursor[tuple[Any, ...]]", runs: Runs) -> Runs:
    """Return the stored sessions within a gap of some run: merged with the runs, they are the sessions."""
    if not len(runs):
        return runs
    return unpacked(
        cursor.execute(_NEIGHBOURS.encode(), keyed(runs) | {"ends": PackedArray(runs.ends, INT8)})
    )


def unpacked(rows: "Cursor[tuple[Any, ...]]") -> Runs:
    """Return the sessions of the one row of a statement that packs their columns."""
    return Runs(*columns(rows.fetchone() or (None,) * len(_KINDS), _KINDS))


def keyed(runs: Runs) -> dict[str, PackedArray]:
    """Return the parameters that name sessions: who, session, start."""
    return {
        "user_keys": PackedArray(runs.user_keys, INT4),
        "session_hashes": PackedArray(runs.session_hashes, INT8),
        "starts": PackedArray(runs.starts, INT8),
    }
