"""What people did, as it is kept."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

# Sorted, so that writers that meet wait in one order. Fates are those of the enum below.
# Erasure waits for those who hold people, and who is erased by then is not assigned.
_ADD_CONVERSIONS = """
WITH held AS MATERIALIZED (
    SELECT user_key, kind, who_hash FROM users
    WHERE (kind, who_hash) IN (SELECT * FROM unnest(%(kinds)b::int2[], %(hashes)b::bytea[]))
    ORDER BY user_key FOR KEY SHARE
), wanted AS (
    SELECT w.*, u.user_key, a.assigned_time, a.exposed_time,
        CASE WHEN a.assigned_time IS NULL THEN 1 WHEN a.exposed_time IS NULL THEN 2
             WHEN w.conversion_time < a.exposed_time THEN 3 ELSE 0 END AS fate
    FROM unnest(%(experiments)s::int4[], %(kinds)b::int2[], %(hashes)b::bytea[], %(metrics)s::text[],
                %(times)s::timestamptz[], %(values)s::int8[], %(ids)s::text[]) WITH ORDINALITY
         AS w(experiment_id, kind, who_hash, metric, conversion_time, value, conversion_id, position)
    LEFT JOIN held u ON u.kind = w.kind AND u.who_hash = w.who_hash
    LEFT JOIN assignments a ON a.experiment_id = w.experiment_id AND a.user_key = u.user_key
), added AS (
    INSERT INTO conversions (experiment_id, user_key, metric, conversion_time, value, conversion_id)
    SELECT DISTINCT ON (experiment_id, conversion_id)
           experiment_id, user_key, metric, conversion_time, value, conversion_id
    FROM wanted WHERE fate = 0
    ORDER BY experiment_id, conversion_id, position
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT fate, (SELECT count(*) FROM added) FROM wanted ORDER BY position
"""

_ADD_EXPOSURES = """
WITH wanted AS (
    SELECT w.*, a.user_key, a.variant AS assigned,
        CASE WHEN a.assigned_time IS NULL THEN 1 WHEN w.exposure_time < a.assigned_time THEN 3 ELSE 0 END
        AS fate
    FROM unnest(%(experiments)s::int4[], %(kinds)b::int2[], %(hashes)b::bytea[], %(times)s::timestamptz[],
                %(variants)s::int2[]) WITH ORDINALITY
         AS w(experiment_id, kind, who_hash, exposure_time, variant, position)
    LEFT JOIN users u ON u.kind = w.kind AND u.who_hash = w.who_hash
    LEFT JOIN assignments a ON a.experiment_id = w.experiment_id AND a.user_key = u.user_key
), seen AS (
    SELECT experiment_id, user_key, min(exposure_time) AS exposure_time,
           coalesce(bool_or(variant <> assigned), false) AS conflicting
    FROM wanted WHERE fate = 0 GROUP BY experiment_id, user_key
), locked AS (
    SELECT a.experiment_id, a.user_key FROM assignments a
    WHERE (a.experiment_id, a.user_key) IN (SELECT experiment_id, user_key FROM seen)
    ORDER BY a.experiment_id, a.user_key FOR UPDATE
), changed AS (
    UPDATE assignments a
    SET exposed_time = least(a.exposed_time, seen.exposure_time),
        conflicting = a.conflicting OR seen.conflicting
    FROM seen JOIN locked USING (experiment_id, user_key)
    WHERE a.experiment_id = seen.experiment_id AND a.user_key = seen.user_key
      AND (a.exposed_time IS NULL OR seen.exposure_time < a.exposed_time
           OR (seen.conflicting AND NOT a.conflicting))
)
SELECT fate FROM wanted ORDER BY position
"""


class Fate(IntEnum):
    """What became of something that was tracked."""

    TAKEN = 0
    NOT_ASSIGNED = 1
    NOT_EXPOSED = 2
    TOO_EARLY = 3


@dataclass(frozen=True, slots=True)
class Conversion:
    """A checked conversion: time in Unix microseconds, value in millionths."""

    conversion_id: str
    experiment_id: int
    who: Who
    metric: str
    time: int
    value: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """A checked exposure; `variant` is the position of what was seen, None for what was assigned."""

    experiment_id: int
    who: Who
    time: int
    variant: int | None


@dataclass(frozen=True)
class TrackingStore:
    """Keeps conversions and exposures."""

    engine: "Engine"
    users: UserDictionary

    def add_conversions(self, conversions: "Sequence[Conversion]") -> tuple[list[Fate], int]:
        """Return the fate of each, and how many were kept now."""
        parameters = self.users.packed([each.who for each in conversions]) | {
            "experiments": [each.experiment_id for each in conversions],
            "metrics": [each.metric for each in conversions],
            "times": [to_datetime_utc(each.time) for each in conversions],
            "values": [each.value for each in conversions],
            "ids": [each.conversion_id for each in conversions],
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_ADD_CONVERSIONS, parameters).fetchall()
        return [Fate(fate) for fate, _ in rows], rows[0][1] if rows else 0

    def add_exposures(self, exposures: "Sequence[Exposure]") -> list[Fate]:
        """Return the fate of each."""
        parameters = self.users.packed([each.who for each in exposures]) | {
            "experiments": [each.experiment_id for each in exposures],
            "times": [to_datetime_utc(each.time) for each in exposures],
            "variants": [each.variant for each in exposures],
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_ADD_EXPOSURES, parameters).fetchall()
        return [Fate(fate) for (fate,) in rows]
