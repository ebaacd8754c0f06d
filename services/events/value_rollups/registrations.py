"""What ingest must know of registered properties, and when it knows it.

Ingest reads the registrations outside its transaction, and its last statement stores nothing where their
version is not the current one. Between these two holds the lock below: every transaction that stores, moves
or removes events holds it shared from its first statement on, and whoever begins a new generation holds it
alone. So a generation has a moment before which every event is history, to be filled in, and after which
every event brings its own delta.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Numbers of advisory locks; nobody else in the schema's database may use them.
STORING_LOCK = 7_300_001
FILLING_LOCK = 7_300_002

_READ = """
SELECT version, generation, path, event FROM property_state
LEFT JOIN registered_properties ON generation IS NOT NULL AND NOT is_overfull
"""


class StaleRegistrationsError(Exception):
    """Properties were registered or given up since the registrations were read; read them again."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A property whose values ingest tells apart: of events of one name, or of all."""

    generation: int
    path: tuple[str, ...]
    event: str | None


@dataclass(frozen=True, slots=True)
class Registrations:
    """All such properties, and the version of this knowledge."""

    version: int
    properties: tuple[Registered, ...]


def read_registrations(engine: "Engine") -> Registrations:
    """Return the registrations as they are now."""
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        rows = cursor.execute(_READ).fetchall()
    properties = tuple(
        Registered(generation, tuple(path), event) for _, generation, path, event in rows if generation
    )
    return Registrations(rows[0][0], properties)
