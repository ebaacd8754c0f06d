"""The dictionary of event types: (event, category) to integer keys, cached whole.

It has a limit: somebody who puts ids into event names would make every question slow, for ever.
"""

from typing import TYPE_CHECKING

from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from services.events.domain import Name

_FIND = """
SELECT event, category, event_key FROM event_types
WHERE (event, category) IN (SELECT * FROM unnest(%(events)s::text[], %(categories)s::text[]))
"""

# Missing ones only, in one order for all writers.
_ADD = """
INSERT INTO event_types (event, category)
SELECT wanted.event, wanted.category
FROM unnest(%(events)s::text[], %(categories)s::text[]) AS wanted(event, category)
WHERE NOT EXISTS (SELECT FROM event_types t WHERE t.event = wanted.event AND t.category = wanted.category)
ORDER BY wanted.event COLLATE "C", wanted.category COLLATE "C"
LIMIT greatest(0, %(maximum)s - (SELECT count(*) FROM event_types))
ON CONFLICT DO NOTHING
"""


class EventTypes:
    """Finds and makes the keys of event types."""

    def __init__(self, engine: "Engine", maximum: int) -> None:
        self._engine = engine
        self.maximum = maximum
        self._cache: dict[Name, int] = {}

    def clear(self) -> None:
        """Forget every key."""
        self._cache.clear()

    def keys(self, names: "Iterable[Name]") -> dict["Name", int]:
        """Return the keys of the names, making those that are missing, in a transaction of its own.

        New names beyond the limit are left out.
        """
        wanted = set(names)
        found = {name: key for name in wanted if (key := self._cache.get(name))}
        missing = wanted - found.keys()
        if missing:
            parameters = {
                "events": [event for event, _ in missing],
                "categories": [category for _, category in missing],
                "maximum": self.maximum,
            }
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                cursor.execute(_ADD, parameters)
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_FIND, parameters).fetchall()
            added = {(event, category): key for event, category, key in rows}
            self._cache.update(added)
            found |= added
        return found
