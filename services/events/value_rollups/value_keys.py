"""The dictionary of values: (registered property, event type, value) to integer keys, cached whole.

It has limits: a property with a value for everybody would make more roll-ups than there are events. Beyond
them the property is overfull: its questions are answered from raw events again.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from services.events.value_rollups.extraction import TEXT_SQL, UNSURE, Text, value_text
from services.events.value_rollups.registrations import (
    Registered,
    Registrations,
    StaleRegistrationsError,
    read_registrations,
)
from services.events.value_rollups.value_rows import ValueRows, no_rows
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Different values of a property; pairs of an event type and a value; characters of a value.
MAXIMUM_VALUES = 1_000
MAXIMUM_PAIRS = 10_000
MAXIMUM_CHARACTERS = 500

_TYPES = "SELECT event_key, event FROM event_types"

_TEXTS = """
SELECT {text}
FROM unnest(%(documents)s::text[]) WITH ORDINALITY AS stored(document, position) ORDER BY position
""".format(text=TEXT_SQL.format(value="(document::jsonb #> %(path)s::text[])"))

_LOAD = "SELECT event_key, value_text, value_key FROM property_values WHERE generation = %(generation)s"

# In one order for all writers.
_ADD = """
INSERT INTO property_values (value_key, generation, event_key, value_text)
SELECT nextval('property_value_keys'), %(generation)s, event_key, value_text
FROM unnest(%(event_keys)s::int4[], %(texts)s::text[]) AS missing(event_key, value_text)
ORDER BY event_key, value_text COLLATE "C"
ON CONFLICT DO NOTHING
"""

_GIVE_UP = """
WITH given_up AS (
    UPDATE registered_properties SET is_overfull = true
    WHERE generation = %(generation)s AND NOT is_overfull RETURNING property_id
)
UPDATE property_state SET version = version + 1 WHERE EXISTS (SELECT FROM given_up)
"""

# (event key, JSON text or None)
Pair = tuple[int, str | None]


class ValueKeys:
    """Finds and makes the keys of values."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._registrations: Registrations | None = None
        self._cache: dict[int, dict[Pair, int]] = {}
        self._events: dict[int, str] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._registrations = None
        self._cache = {}
        self._events = {}

    def registrations(self) -> Registrations:
        """Return the registrations as they were read last."""
        known = self._registrations
        if known is None:
            known = self._registrations = read_registrations(self._engine)
        return known

    def rows(
        self, registrations: Registrations, event_keys: NDArray[np.int32], documents: Sequence[bytes]
    ) -> ValueRows:
        """Return the value rows of events, making missing keys in transactions of their own.

        Args:
            registrations: what registrations() returned.
            event_keys: one for each event.
            documents: the properties of each as JSON, empty where there are none; not needed while nothing
                is registered.

        Raises:
            StaleRegistrationsError: a property became overfull just now.

        """
        if not registrations.properties:
            return no_rows(registrations.version)
        parsed = [orjson.loads(document) if document else None for document in documents]
        keys = event_keys.tolist()
        positions: list[int] = []
        value_keys: list[int] = []
        for registered in registrations.properties:
            own = self._positions(registered, keys)
            texts = self._settled(
                registered.path,
                [value_text(parsed[position], registered.path) for position in own],
                [documents[position] for position in own],
            )
            value_keys += self.keys(
                registered.generation, list(zip(map(keys.__getitem__, own), texts, strict=True))
            )
            positions += own
        return ValueRows(registrations.version, np.array(positions, np.int32), np.array(value_keys, np.int32))

    def keys(self, generation: int, pairs: Sequence[Pair]) -> list[int]:
        """Return the keys of pairs; raise StaleRegistrationsError where the property is overfull."""
        known = self._cache.get(generation, {})
        found = list(map(known.get, pairs))
        if None in found:
            known = self._complete(generation, set(pairs))
            found = [known[pair] for pair in pairs]
        return cast("list[int]", found)

    def _positions(self, registered: Registered, event_keys: list[int]) -> list[int]:
        if registered.event is None:
            return list(range(len(event_keys)))
        events = self._events  # another thread may forget them meanwhile
        if not events.keys() >= set(event_keys):
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                events = self._events = dict(cursor.execute(_TYPES).fetchall())
        return [position for position, key in enumerate(event_keys) if events[key] == registered.event]

    def _settled(
        self, path: tuple[str, ...], texts: "Sequence[Text]", documents: Sequence[bytes]
    ) -> list[str | None]:
        """Return the texts, those that are UNSURE as PostgreSQL says them."""
        unsure = [document for text, document in zip(texts, documents, strict=True) if text is UNSURE]
        settled: Iterator[str | None] = iter(())
        if unsure:
            parameters = {"path": list(path), "documents": [document.decode() for document in unsure]}
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                settled = iter([text for (text,) in cursor.execute(_TEXTS, parameters)])
        return [next(settled) if text is UNSURE else text for text in texts]

    def _complete(self, generation: int, pairs: set[Pair]) -> dict[Pair, int]:
        known = self._load(generation)
        missing = sorted(pairs - known.keys(), key=lambda pair: (pair[0], pair[1] or ""))
        fit = all(len(text or "") <= MAXIMUM_CHARACTERS for _, text in missing)
        if missing and fit:
            parameters = {
                "generation": generation,
                "event_keys": [event_key for event_key, _ in missing],
                "texts": [text for _, text in missing],
            }
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                cursor.execute(_ADD, parameters)
            known = self._load(generation)
        if not fit or len(known) > MAXIMUM_PAIRS or len({text for _, text in known}) > MAXIMUM_VALUES:
            self.give_up(generation)
        if not pairs <= known.keys():  # the generation has ended, and its values were swept away
            raise StaleRegistrationsError
        return known

    def give_up(self, generation: int) -> None:
        """Let a property answer from raw events from now on; raises StaleRegistrationsError."""
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_GIVE_UP, {"generation": generation})
        self.clear()
        raise StaleRegistrationsError

    def _load(self, generation: int) -> dict[Pair, int]:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_LOAD, {"generation": generation}).fetchall()
        loaded = {(event_key, text): value_key for event_key, text, value_key in rows}
        self._cache[generation] = loaded
        return loaded
