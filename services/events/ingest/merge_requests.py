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


class MergeRequests:
    """Asks for merges, once for each pair of ids."""

    def __init__(self, followed: "Followed") -> None:
        self._followed = followed
        self._asked: set[tuple[int, int]] = set()

    def clear(self) -> None:
        """Forget what was asked for."""
        self._asked = set()

    def ask(self, cursor: "Cursor[tuple[Any, ...]]", rows: "Rows") -> list[tuple[int, int]]:
        """Ask to merge what came together for the first time; return those pairs, (anonymous, user)."""
        places = np.flatnonzero(rows.anonymous_keys)
        if not len(places):
            return []
        packed = (rows.anonymous_keys[places].astype(np.int64) << 32) | rows.user_keys[places]
        pairs, firsts = np.unique(packed, return_index=True)
        new = [
            (pair >> 32, pair & 0x7FFFFFFF, first)
            for pair, first in zip(pairs.tolist(), places[firsts].tolist(), strict=True)
            if self._is_new(pair >> 32, pair & 0x7FFFFFFF)
        ]
        if new:
            anonymous_keys, user_keys, order = map(list, zip(*new, strict=True))
            cursor.execute(_ASK, {"anonymous_keys": anonymous_keys, "user_keys": user_keys, "places": order})
        return [(anonymous, user) for anonymous, user, _ in new]

    def remember(self, pairs: list[tuple[int, int]]) -> None:
        """Remember that these were asked for, and committed."""
        if len(self._asked) + len(pairs) > _MAXIMUM:
            self._asked = set()
        self._asked.update(pairs)

    def _is_new(self, anonymous_key: int, user_key: int) -> bool:
        return (
            self._followed.merged_into(anonymous_key) != user_key
            and (anonymous_key, user_key) not in self._asked
        )
