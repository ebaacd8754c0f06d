"""Everything held about a person, as lines of JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.funnels.privacy.same_person import SamePerson
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.people import UserDictionary

_PAGE = 1_000

_RECORDS = """
SELECT funnel_id, funnel_number, step, step_time, user_key
FROM step_records JOIN funnels USING (funnel_number)
WHERE user_key = ANY(%(keys)s::int4[])
  AND (%(time)s::timestamptz IS NULL
       OR (step_time, funnel_number, user_key, step)
          > (%(time)s::timestamptz, %(funnel)s::int4, %(key)s::int4, %(step)s::int2))
ORDER BY step_time, funnel_number, user_key, step LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Exporter:
    """Reads all there is of a person."""

    engine: "Engine"
    users: "UserDictionary"
    same_person: SamePerson

    def export(self, who: Who) -> Iterator[list[str]]:
        """Yield lines, some at a time; no transaction stays open in between."""
        people = self.same_person.of(who)
        known = self.users.known_keys(people)
        lines = [_line("users", kind=PersonKind(kind).name.lower(), id=name) for kind, name in sorted(known)]
        with self.engine.begin() as connection:
            erased = self.users.erased(connection, [who]).get(who)
        if erased is not None:
            lines.insert(0, _line("tombstones", erased=to_datetime_utc(erased).isoformat()))
        if lines:
            yield lines
        yield from self._records(sorted(known.values()))

    def _records(self, keys: list[int]) -> Iterator[list[str]]:
        after: tuple[Any, ...] = (None, None, None, None)
        while keys:
            names = dict(zip(("time", "funnel", "key", "step"), after, strict=True))
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_RECORDS, {**names, "keys": keys, "limit": _PAGE}).fetchall()
            if rows:
                yield [
                    _line("step_records", funnel_id=funnel_id, step=step, step_time=time.isoformat())
                    for funnel_id, _, step, time, _ in rows
                ]
            if len(rows) < _PAGE:
                return
            _, funnel, step, time, key = rows[-1]
            after = (time, funnel, key, step)


def _line(table: str, **members: object) -> str:
    return json.dumps({"table": table, **members}, ensure_ascii=False)
