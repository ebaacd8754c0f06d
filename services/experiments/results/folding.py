"""Folding: bringing sums up to date for the people whose conversions or part in an experiment changed.

Whoever folds locks the experiment's row of fold_states, and only then, in later statements, takes notes and
looks at the people they name. What counts of a person is put in place of what was folded of them, so a change
that is seen before its note is taken is folded once, and again without effect.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from services.experiments.results.folded import FRESH, STALE
from shared.chores import Chore
from shared.database import driver_cursor
from shared.packed_arrays import INT4, PackedArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor
    from sqlalchemy import Engine

    from services.experiments.catalogue import Catalogue
    from services.experiments.domain import Experiment

LOOK_SECONDS: Final = 1.0
# Of one transaction: a fifth of a second.
MAXIMUM_PEOPLE: Final = 10_000
# Whose taking part changed lately is remembered, for those who keep participants in memory.
_REMEMBERED: Final = 200_000

# Each step of the recursion is one look into an index.
_WAITING = """
WITH RECURSIVE waiting AS (
    SELECT min(experiment_id) AS experiment_id FROM touched
    UNION ALL
    SELECT (SELECT min(experiment_id) FROM touched WHERE experiment_id > waiting.experiment_id)
    FROM waiting WHERE experiment_id IS NOT NULL
)
SELECT experiment_id FROM waiting WHERE experiment_id IS NOT NULL
"""

_ENSURE = "INSERT INTO fold_states (experiment_id) VALUES (%(experiment)s) ON CONFLICT DO NOTHING"

_LOCK = "SELECT fold FROM fold_states WHERE experiment_id = %(experiment)s FOR UPDATE SKIP LOCKED"

_TAKE = """
WITH oldest AS (
    SELECT number, cardinality(user_keys) AS people FROM touched
    WHERE experiment_id = %(experiment)s ORDER BY number LIMIT 1000
), chosen AS (
    SELECT number FROM (SELECT number, sum(people) OVER (ORDER BY number) - people AS before FROM oldest) AS o
    WHERE before < %(maximum)s
), taken AS (
    DELETE FROM touched USING chosen WHERE touched.number = chosen.number RETURNING touched.*
), counted AS (
    INSERT INTO folded_participants (experiment_id, variant, allocation, conflicting, participants)
    SELECT experiment_id, variant, allocation, conflicting, sum(participants)
    FROM taken WHERE variant IS NOT NULL
    GROUP BY experiment_id, variant, allocation, conflicting
    ON CONFLICT (experiment_id, variant, allocation, conflicting)
    DO UPDATE SET participants = folded_participants.participants + excluded.participants
)
SELECT array_agg(DISTINCT user_key), array_agg(DISTINCT user_key) FILTER (WHERE taking_part)
FROM taken, unnest(user_keys) AS user_key
"""

# A full join, since it is planned as one of whole sets, however few rows the planner expects.
_FOLD = f"""
WITH fresh AS ({FRESH}), stale AS ({STALE}
), changes AS (
    SELECT user_key, metric, fresh.variant AS new_variant, fresh.conversions AS new_conversions,
           fresh.total AS new_total, stale.variant AS old_variant, stale.conversions AS old_conversions,
           stale.total AS old_total
    FROM fresh FULL JOIN stale USING (user_key, metric)
    WHERE (fresh.variant, fresh.conversions, fresh.total)
          IS DISTINCT FROM (stale.variant, stale.conversions, stale.total)
), gone AS (
    DELETE FROM folded_people USING changes
    WHERE folded_people.experiment_id = %(experiment)s AND folded_people.user_key = changes.user_key
      AND folded_people.metric = changes.metric AND changes.new_variant IS NULL
), came AS (
    INSERT INTO folded_people (experiment_id, user_key, metric, variant, conversions, total)
    SELECT %(experiment)s, user_key, metric, new_variant, new_conversions, new_total
    FROM changes WHERE new_variant IS NOT NULL
    ON CONFLICT (experiment_id, user_key, metric) DO UPDATE
    SET variant = excluded.variant, conversions = excluded.conversions, total = excluded.total
)
INSERT INTO folded_sums (experiment_id, metric, variant, converted, conversions, squared_conversions, total,
                         squared_total, product)
SELECT %(experiment)s, metric, variant, sum(sign), sum(sign * conversions),
       sum(sign * conversions * conversions), sum(sign * total), sum(sign * total * total),
       sum(sign * conversions * total)
FROM (SELECT 1 AS sign, metric, new_variant AS variant, new_conversions AS conversions, new_total AS total
      FROM changes WHERE new_variant IS NOT NULL
      UNION ALL
      SELECT -1, metric, old_variant, old_conversions, old_total
      FROM changes WHERE old_variant IS NOT NULL) AS parts
GROUP BY metric, variant
ON CONFLICT (experiment_id, metric, variant) DO UPDATE
SET converted = folded_sums.converted + excluded.converted,
    conversions = folded_sums.conversions + excluded.conversions,
    squared_conversions = folded_sums.squared_conversions + excluded.squared_conversions,
    total = folded_sums.total + excluded.total,
    squared_total = folded_sums.squared_total + excluded.squared_total,
    product = folded_sums.product + excluded.product
"""  # noqa: S608 - made of constants

_REMEMBER = """
INSERT INTO folds (experiment_id, fold, user_keys) VALUES (%(experiment)s, %(fold)s, %(keys)s::int4[])
"""

_FORGET = """
WITH gone AS (
    DELETE FROM folds USING (
        SELECT fold, sum(cardinality(user_keys)) OVER (ORDER BY fold DESC) AS people
        FROM folds WHERE experiment_id = %(experiment)s) AS kept
    WHERE experiment_id = %(experiment)s AND folds.fold = kept.fold AND people > %(remembered)s
    RETURNING folds.fold
)
UPDATE fold_states SET fold = %(fold)s, forgotten = greatest(forgotten, (SELECT max(fold) FROM gone))
WHERE experiment_id = %(experiment)s
"""


@dataclass(frozen=True)
class Folder:
    """Folds; any number of replicas may."""

    engine: "Engine"

    def waiting(self) -> list[int]:
        """Return the ids of experiments with anything to fold."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return [experiment_id for (experiment_id,) in cursor.execute(_WAITING).fetchall()]

    def fold(self, experiment: "Experiment", maximum_people: int = MAXIMUM_PEOPLE) -> bool:
        """Fold the oldest notes; return whether there were any, and no other replica is at them."""
        parameters: dict[str, Any] = {
            "experiment": experiment.experiment_id,
            "window": experiment.window_seconds,
            "maximum": maximum_people,
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_ENSURE, parameters)
            locked = cursor.execute(_LOCK, parameters).fetchone()
            if locked is None:
                return False
            keys, taking_part = cursor.execute(_TAKE, parameters).fetchone() or (None, None)
            if keys is None:
                return False
            cursor.execute(_FOLD, parameters | {"keys": PackedArray(np.array(keys, np.int32), INT4)})
            _remember(cursor, experiment, locked[0] + 1, taking_part or [])
        return True


def _remember(
    cursor: "Cursor[tuple[Any, ...]]", experiment: "Experiment", fold: int, keys: "Sequence[int]"
) -> None:
    parameters = {"experiment": experiment.experiment_id, "fold": fold, "remembered": _REMEMBERED}
    if keys:
        cursor.execute(_REMEMBER, parameters | {"keys": keys})
    cursor.execute(_FORGET, parameters)


def folding(folder: Folder, catalogue: "Catalogue") -> Chore:
    """Fold until nothing waits, half of the time while much does: tracking needs PostgreSQL too."""

    def run() -> float:
        began = time.monotonic()
        waiting = set(folder.waiting())
        # One that was made a moment ago is known the next time.
        known = [each for each in catalogue.snapshot().experiments.values() if each.experiment_id in waiting]
        folded = [folder.fold(each) for each in known]
        return time.monotonic() - began if any(folded) else LOOK_SECONDS

    return Chore("folding results", run)
