"""A named cohort: what it is called, and who is in it."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from services.events.domain import Selection
from services.events.retention.grid import Entry


@dataclass(frozen=True, slots=True)
class Definition:
    """People of whom a start event lies in [start, end), Unix µs; days are those of the zone."""

    starts: Selection
    start: int
    end: int
    zone: ZoneInfo
    entry: Entry


@dataclass(frozen=True, slots=True)
class Cohort:
    """A cohort; create_time is in Unix µs."""

    cohort_id: str
    name: str
    description: str
    definition: Definition
    create_time: int
