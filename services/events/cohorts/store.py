"""Keeps the definitions of cohorts. Their people are not kept: they are found anew at every question."""

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import text

from services.events.cohorts.cohort import Cohort, Definition
from services.events.domain import Condition, Operator, Selection
from services.events.retention.grid import Entry
from shared.audit import AuditEntry, record
from shared.calendar import to_datetime_utc, to_micros
from shared.errors import Aborted, AlreadyExists, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

_ADD = text("""
INSERT INTO cohorts (cohort_id, name, description, start_event, start_filters, start_time, end_time,
                     time_zone, entry, create_time)
VALUES (:cohort_id, :name, :description, :start_event, CAST(:start_filters AS json), :start_time, :end_time,
        :time_zone, :entry, :create_time)
ON CONFLICT (cohort_id) DO NOTHING RETURNING cohort_id
""")

_READ = text("""
SELECT cohort_id, name, description, start_event, CAST(start_filters AS text) AS start_filters, start_time,
       end_time, time_zone, entry, create_time
FROM cohorts WHERE cohort_id = :cohort_id
""")

_PAGE = text("""
SELECT cohort_id, name, description, start_event, CAST(start_filters AS text) AS start_filters, start_time,
       end_time, time_zone, entry, create_time
FROM cohorts WHERE CAST(:after AS text) IS NULL OR cohort_id > :after ORDER BY cohort_id LIMIT :limit
""")

_DELETE = text("DELETE FROM cohorts WHERE cohort_id = :cohort_id RETURNING name")


class CohortStore:
    """Creates, reads and deletes cohorts."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def create(self, cohort: Cohort, actor: str) -> Cohort:
        """Keep a cohort and return it as it is kept; one that is there already stays as it was.

        Raises:
            AlreadyExists: the id is that of a different cohort.

        """
        values = _values(cohort)
        with self._engine.begin() as connection:
            if connection.execute(_ADD, values).one_or_none() is not None:
                details = {"name": cohort.name}
                record(connection, AuditEntry(actor, "CreateCohort", cohort.cohort_id, details))
                return cohort
            kept = _read(connection, cohort.cohort_id)
        if kept is None:  # deleted between the two statements
            raise Aborted("the cohort is being deleted", "CONFLICT")
        if _values(kept) != values | {"create_time": to_datetime_utc(kept.create_time)}:
            raise AlreadyExists(f"another cohort has the id {cohort.cohort_id!r}", "COHORT_EXISTS")
        return kept

    def read(self, cohort_id: str) -> Cohort:
        """Return a cohort. Raises NotFound."""
        with self._engine.begin() as connection:
            found = _read(connection, cohort_id)
        if found is None:
            raise _unknown(cohort_id)
        return found

    def page(self, after: str | None, limit: int) -> list[Cohort]:
        """Return the cohorts behind an id, by id."""
        with self._engine.begin() as connection:
            return [_cohort(row) for row in connection.execute(_PAGE, {"after": after, "limit": limit})]

    def delete(self, cohort_id: str, actor: str) -> None:
        """Delete a cohort. Raises NotFound."""
        with self._engine.begin() as connection:
            name = connection.execute(_DELETE, {"cohort_id": cohort_id}).scalar_one_or_none()
            if name is None:
                raise _unknown(cohort_id)
            record(connection, AuditEntry(actor, "DeleteCohort", cohort_id, {"name": name}))


def _unknown(cohort_id: str) -> NotFound:
    return NotFound(f"there is no cohort {cohort_id!r}", "COHORT_UNKNOWN")


def _read(connection: "Connection", cohort_id: str) -> Cohort | None:
    row = connection.execute(_READ, {"cohort_id": cohort_id}).one_or_none()
    return None if row is None else _cohort(row)


def _values(cohort: Cohort) -> dict[str, object]:
    definition = cohort.definition
    return {
        "cohort_id": cohort.cohort_id,
        "name": cohort.name,
        "description": cohort.description,
        "start_event": definition.starts.events[0] if definition.starts.events else None,
        "start_filters": _to_json(definition.starts.conditions),
        "start_time": to_datetime_utc(definition.start),
        "end_time": to_datetime_utc(definition.end),
        "time_zone": definition.zone.key,
        "entry": definition.entry.value,
        "create_time": to_datetime_utc(cohort.create_time),
    }


def _cohort(row: "Row[Any]") -> Cohort:
    starts = Selection(
        events=None if row.start_event is None else (row.start_event,),
        conditions=_from_json(row.start_filters),
    )
    definition = Definition(
        starts, to_micros(row.start_time), to_micros(row.end_time), ZoneInfo(row.time_zone), Entry(row.entry)
    )
    return Cohort(row.cohort_id, row.name, row.description, definition, to_micros(row.create_time))


def _to_json(conditions: tuple[Condition, ...]) -> str:
    return orjson.dumps([[each.path, each.operator.value, each.values] for each in conditions]).decode()


def _from_json(stored: str) -> tuple[Condition, ...]:
    return tuple(
        Condition(tuple(path), Operator(operator), tuple(values))
        for path, operator, values in orjson.loads(stored)
    )
