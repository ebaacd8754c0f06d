"""Noting which ids came together in an event, in the transaction that stores it, for others to merge.

What a process knows to be settled costs a look into a set for each pair, nothing for other events.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from psycopg import Cursor

    from services.events.followed import Followed
    from services.events.ingest.store import Rows

# Sorted, so that two writers wait for each other in one direction only. Which event of a transaction came
# first decides between users of one anonymous id.
_ASK = """
INSERT INTO merge_requests (anonymous_key, user_key, place)
SELECT * FROM unnest(%(anonymous_keys)s::int4[], %(user_keys)s::int4[], %(places)s::int4[])
     AS asked(anonymous_key, user_key, place)
ORDER BY anonymous_key, user_key
ON CONFLICT DO NOTHING
"""

_MAXIMUM = 1_000_000
_LOWER_HALF = 0xFFFFFFFF


class MergeRequests:
    """Asks for merges, once for each pair of ids."""

    def __init__(self, followed: "Followed") -> None:
        self._followed = followed
        self._settled: set[int] = set()  # pairs, the anonymous key in the upper half

    def clear(self) -> None:
        """Forget what was asked for."""
        self._settled = set()

    def ask(self, cursor: "Cursor[tuple[Any, ...]]", rows: "Rows") -> list[int]:
        """Ask to merge what came together for the first time; return what remember() takes, if anything."""
        places = np.flatnonzero(rows.anonymous_keys)
        if not len(places):
            return []
        packed = (rows.anonymous_keys[places].astype(np.int64) << 32) | rows.user_keys[places]
        if not set(packed.tolist()) - self._settled:
            return []
        pairs, firsts = np.unique(packed, return_index=True)
        new = [
            (pair >> 32, pair & _LOWER_HALF, place)
            for pair, place in zip(pairs.tolist(), places[firsts].tolist(), strict=True)
            if pair not in self._settled and self._followed.merged_into(pair >> 32) != pair & _LOWER_HALF
        ]
        if new:
            anonymous_keys, user_keys, order = map(list, zip(*new, strict=True))
            cursor.execute(_ASK, {"anonymous_keys": anonymous_keys, "user_keys": user_keys, "places": order})
        asked: list[int] = pairs.tolist()
        return asked

    def remember(self, pairs: list[int]) -> None:
        """Remember that these were asked for, or merged before, once that is committed."""
        if len(self._settled) + len(pairs) > _MAXIMUM:
            self._settled = set()
        self._settled.update(pairs)
