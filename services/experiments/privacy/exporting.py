"""Everything held about a person, as lines of JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.experiments.domain import VALUE_SCALE
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

_PAGE = 1_000

_ASSIGNED = """
SELECT e.key, e.definition->'variants'->a.variant::int->>'name', a.assigned_time, a.exposed_time,
       a.conflicting
FROM assignments a JOIN experiments e USING (experiment_id)
WHERE a.user_key = %(key)s AND a.experiment_id = ANY(SELECT experiment_id FROM experiments)
ORDER BY e.key
"""

_KNOWN = """
SELECT e.key, k.attribute, k.value FROM assignment_attributes k JOIN experiments e USING (experiment_id)
WHERE k.user_key = %(key)s ORDER BY e.key, k.attribute
"""

_OVERRIDDEN = """
SELECT e.key, e.definition->'variants'->o.variant::int->>'name'
FROM overrides o JOIN experiments e USING (experiment_id)
WHERE o.user_key = %(key)s AND o.experiment_id = ANY(SELECT experiment_id FROM experiments)
ORDER BY e.key
"""

_CONVERTED = """
SELECT c.experiment_id, c.conversion_id, e.key, c.metric, c.conversion_time, c.value
FROM conversions c JOIN experiments e USING (experiment_id)
WHERE c.user_key = %(key)s AND (c.experiment_id, c.conversion_id) > (%(experiment)s, %(after)s)
ORDER BY c.experiment_id, c.conversion_id LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Exporter:
    """Reads all there is of a person."""

    engine: "Engine"
    users: UserDictionary

    def export(self, who: Who | None) -> Iterator[list[str]]:
        """Yield lines, some at a time; no transaction stays open in between."""
        if who is None:
            return
        key = self.users.known_keys([who]).get(who)
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            erased = self.users.erased(connection, [who]).get(who)
            lines = [] if erased is None else [_line("tombstones", erased=to_datetime_utc(erased))]
            if key is not None:
                lines += _lines(cursor, who, key)
        if lines:
            yield lines
        if key is not None:
            yield from self._conversions(key)

    def _conversions(self, key: int) -> Iterator[list[str]]:
        position = {"experiment": 0, "after": ""}
        while True:
            parameters = {"key": key, "limit": _PAGE, **position}
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_CONVERTED, parameters).fetchall()
            if rows:
                yield [_conversion(row) for row in rows]
            if len(rows) < _PAGE:
                return
            position = {"experiment": rows[-1][0], "after": rows[-1][1]}


def _lines(cursor: "Cursor[tuple[Any, ...]]", who: Who, key: int) -> list[str]:
    parameters = {"key": key}
    assigned = cursor.execute(_ASSIGNED, parameters).fetchall()
    overridden = cursor.execute(_OVERRIDDEN, parameters).fetchall()
    known = cursor.execute(_KNOWN, parameters).fetchall()
    return [
        _line("users", kind=who[0].name.lower(), id=who[1], user_key=key),
        *(
            _line(
                "assignments",
                experiment=experiment,
                variant=variant,
                assigned_time=assigned_time,
                exposed_time=exposed_time,
                conflicting=conflicting,
            )
            for experiment, variant, assigned_time, exposed_time, conflicting in assigned
        ),
        *(
            _line("assignment_attributes", experiment=experiment, attribute=attribute, value=value)
            for experiment, attribute, value in known
        ),
        *(_line("overrides", experiment=experiment, variant=variant) for experiment, variant in overridden),
    ]


def _conversion(row: tuple[Any, ...]) -> str:
    _, conversion_id, experiment, metric, conversion_time, value = row
    return _line(
        "conversions",
        conversion_id=conversion_id,
        experiment=experiment,
        metric=metric,
        conversion_time=conversion_time,
        value=value / VALUE_SCALE,
    )


def _line(table: str, **members: object) -> str:
    return json.dumps({"table": table, **members}, ensure_ascii=False, default=datetime.isoformat)
