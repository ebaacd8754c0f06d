"""Rows of chunks of events that are distributed, and the revisions of the very rows.

What one worker has committed and what another has is not of one snapshot, so a revision summed from roll-ups
may be that of other rows than those that are read beside them.
"""

from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.events.packed import unix_times
from services.events.revision import mix64

# Every row of the chunks, with their ids, and which of them meet the conditions.
ROWS = """
SELECT 2, wanted.event, day, NULL::numeric, count(*), NULL::bytea, string_agg(int4send(user_key), ''),
       string_agg(timestamptz_send(event_time), ''), string_agg(uuid_send(event_id), ''),
       string_agg(int4send(CASE WHEN true {conditions} THEN 1 ELSE 0 END), '') {columns}
FROM unnest(%(chunk_events)s::text[], %(chunk_days)s::int4[]) AS wanted(event, day)
JOIN event_types AS named ON named.event = wanted.event
JOIN events ON events.event_key = named.event_key
    AND event_time >= '1970-01-01 00:00+00'::timestamptz + make_interval(hours => day * 24)
    AND event_time < '1970-01-01 00:00+00'::timestamptz + make_interval(hours => (day + 1) * 24)
GROUP BY wanted.event, day
"""

_HEAD, _USERS, _TIMES, _IDS, _MET = 6, 6, 7, 8, 9


def judged(row: tuple[Any, ...]) -> tuple[int, tuple[Any, ...] | None]:
    """Return the revision of a row of ROWS, and the row of those that meet the conditions, if any do.

    The latter has no columns of ids and of what is met.
    """
    words = np.frombuffer(row[_IDS], ">u8").reshape(-1, 2).astype(np.uint64)
    users = np.frombuffer(row[_USERS], ">i4").astype(np.int32)
    shares = mix64(users, unix_times(row[_TIMES]), (words[:, 0], words[:, 1]))
    revision, kept = int(shares.sum(dtype=np.uint64)), np.frombuffer(row[_MET], ">i4").astype(bool)
    if not kept.any():
        return revision, None
    columns = (row[_USERS], row[_TIMES], *row[_MET + 1 :])
    return revision, (*row[:_HEAD], *(_cut(column, kept) for column in columns))


def _cut(column: Any, kept: NDArray[np.bool_]) -> Any:  # noqa: ANN401 - packed, or a list of texts
    """Return what a column says of some of the events."""
    if isinstance(column, list):
        return list(compress(column, kept))
    return np.frombuffer(column, f"V{len(column) // len(kept)}")[kept].tobytes()
