"""Assignments as they are kept: the first one of each person stays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.experiments.domain import Experiment
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

_FIND = """
SELECT wanted.position, a.variant, (extract(epoch FROM a.assigned_time) * 1000000)::int8,
       (extract(epoch FROM a.exposed_time) * 1000000)::int8, o.variant
FROM unnest(%(kinds)b::int2[], %(hashes)b::bytea[]) WITH ORDINALITY AS wanted(kind, who_hash, position)
JOIN users u ON u.kind = wanted.kind AND u.who_hash = wanted.who_hash
LEFT JOIN assignments a ON a.experiment_id = %(experiment)s AND a.user_key = u.user_key
LEFT JOIN overrides o ON o.experiment_id = %(experiment)s AND o.user_key = u.user_key
WHERE a.variant IS NOT NULL OR o.variant IS NOT NULL
"""

# One order for all writers: two that meet wait, and never for each other. Erasure waits for them, and who is
# erased by then is left out.
_ADD = """
INSERT INTO assignments (experiment_id, user_key, variant, allocation, assigned_time, exposed_time)
SELECT %(experiment)s, user_key, variant, %(allocation)s, %(now)s, %(exposed)s
FROM unnest(%(keys)s::int4[], %(variants)s::int2[]) AS chosen(user_key, variant)
JOIN users USING (user_key)
ORDER BY user_key FOR KEY SHARE OF users
ON CONFLICT DO NOTHING
"""

# Of those who were assigned at that moment, not by another replica before.
_ADD_ATTRIBUTES = """
INSERT INTO assignment_attributes (experiment_id, user_key, attribute, value)
SELECT a.experiment_id, a.user_key, known.attribute, known.value
FROM unnest(%(keys)s::int4[], %(attributes)s::text[], %(values)s::text[]) AS known(user_key, attribute, value)
JOIN assignments a ON a.experiment_id = %(experiment)s AND a.user_key = known.user_key
WHERE a.assigned_time = %(now)s
ORDER BY a.user_key, known.attribute
ON CONFLICT DO NOTHING
"""

_OVERRIDE = """
INSERT INTO overrides (experiment_id, user_key, variant) VALUES (%(experiment)s, %(user)s, %(variant)s)
ON CONFLICT (experiment_id, user_key) DO UPDATE SET variant = excluded.variant
"""

_TAKE_BACK = "DELETE FROM overrides WHERE experiment_id = %(experiment)s AND user_key = %(user)s"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of somebody: positions of variants, times in Unix microseconds."""

    assigned: int | None
    assigned_time: int | None
    exposed_time: int | None
    overridden: int | None


@dataclass(frozen=True)
class AssignmentStore:
    """Reads and keeps assignments."""

    engine: "Engine"
    users: UserDictionary

    def find(self, experiment: Experiment, people: "Sequence[Who]") -> dict[Who, Kept]:
        """Return what is kept of those of whom something is."""
        parameters = self.users.packed(people) | {"experiment": experiment.experiment_id}
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_FIND, parameters).fetchall()
        return {people[position - 1]: Kept(*kept) for position, *kept in rows}

    def add(
        self,
        experiment: Experiment,
        chosen: "Mapping[Who, int]",
        known: "Mapping[Who, Mapping[str, str]]",
        now: int,
    ) -> None:
        """Keep the variants of people who have none, and what is known of them; others keep theirs."""
        keys = self.users.keys(chosen)
        parameters = {
            "experiment": experiment.experiment_id,
            "allocation": experiment.allocation,
            "now": to_datetime_utc(now),
            "exposed": None if experiment.tracks_exposures else to_datetime_utc(now),
            "keys": [keys[who] for who in chosen],
            "variants": list(chosen.values()),
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_ADD, parameters)
            rows = [(keys[who], name, value) for who in chosen for name, value in known[who].items()]
            if rows:
                columns = dict(
                    zip(("keys", "attributes", "values"), map(list, zip(*rows, strict=True)), strict=True)
                )
                cursor.execute(_ADD_ATTRIBUTES, parameters | columns)


def set_override(
    connection: "Connection", experiment: Experiment, user_key: int, variant: int | None
) -> None:
    """Keep an override, or take it back."""
    parameters = {"experiment": experiment.experiment_id, "user": user_key, "variant": variant}
    with driver_cursor(connection) as cursor:
        cursor.execute(_TAKE_BACK if variant is None else _OVERRIDE, parameters)
