"""Participants by what was known of them when they were assigned."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.experiments.domain import Experiment

MAXIMUM_VALUES: Final = 20

_PEOPLE = """
SELECT k.value, string_agg(int4send(a.user_key), ''), count(*) OVER ()
FROM assignments a LEFT JOIN assignment_attributes k
    ON k.experiment_id = a.experiment_id AND k.attribute = %(attribute)s AND k.user_key = a.user_key
WHERE a.experiment_id = %(experiment)s AND a.exposed_time IS NOT NULL
GROUP BY k.value ORDER BY count(*) DESC, k.value NULLS LAST LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A value, None for those without one, and our keys of its people."""

    value: str | None
    people: NDArray[np.int32]


def read_segments(
    connection: "Connection", experiment: "Experiment", attribute: str
) -> tuple[list[Segment], int]:
    """Return the most frequent values, the most frequent first, and how many more there are."""
    parameters = {
        "attribute": attribute,
        "experiment": experiment.experiment_id,
        "limit": MAXIMUM_VALUES,
    }
    with driver_cursor(connection) as cursor:
        rows = cursor.execute(_PEOPLE, parameters).fetchall()
    found = [Segment(value, np.frombuffer(packed, ">i4").astype(np.int32)) for value, packed, _ in rows]
    return found, rows[0][2] - len(rows) if rows else 0
