"""Answers about coming back, as messages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from brain.events.v1 import retention_pb2 as pb

from services.events.retention.grid import Absence, Average, Cell, Entrants, Entry, Mode, averages
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from services.events.retention.lifecycle import Lifecycle
    from services.events.retention.questions import RetentionQuestion
    from services.events.retention.returns import Grid

MODE_NUMBERS = {
    Mode.ON_DAY: pb.RETENTION_MODE_ON_DAY,
    Mode.ON_OR_AFTER: pb.RETENTION_MODE_ON_OR_AFTER,
}
ENTRY_NUMBERS = {
    Entry.RECURRING: pb.RETENTION_ENTRY_RECURRING,
    Entry.FIRST_EVER: pb.RETENTION_ENTRY_FIRST_EVER,
}


def retention_cohorts(question: "RetentionQuestion", found: "Grid") -> list[pb.RetentionCohort]:
    """Return the cohorts with their cells."""
    rows = zip(question.periods, found.cohorts, found.cells, strict=True)
    return [_cohort(*row) for row in rows]


def retention_averages(question: "RetentionQuestion", found: "Grid") -> list[pb.RetentionAverage]:
    """Return the average of each offset."""
    return [retention_average(each) for each in averages(found.cells, question.offsets)]


def _cohort(period: tuple[int, int], cohort: Entrants, cells: Sequence[Cell]) -> pb.RetentionCohort:
    return pb.RetentionCohort(
        start_time=from_micros(period[0]),
        end_time=from_micros(period[1]),
        size=cohort.size,
        cells=[
            pb.RetentionCell(
                offset_days=cell.offset,
                returned=cell.returned,
                ratio=cell.ratio,
                absent_reason=cell.absence.value if cell.absence else "",
                complete=cell.complete,
            )
            for cell in cells
        ],
    )


def retention_average(average: Average) -> pb.RetentionAverage:
    """Return an average."""
    return pb.RetentionAverage(
        offset_days=average.offset,
        cohorts=average.cohorts,
        users=average.users,
        returned=average.returned,
        ratio=average.ratio,
        absent_reason="" if average.users else Absence.NO_COMPLETE_COHORT.value,
    )


def lifecycle_period(period: tuple[int, int], lifecycle: "Lifecycle", now: int) -> pb.LifecyclePeriod:
    """Return the life cycle of a period."""
    return pb.LifecyclePeriod(
        start_time=from_micros(period[0]),
        end_time=from_micros(period[1]),
        active=lifecycle.active,
        new_users=lifecycle.new,
        returning=lifecycle.returning,
        resurrected=lifecycle.resurrected,
        dormant=lifecycle.dormant,
        complete=period[1] <= now,
    )


def stickiness_period(
    period: tuple[int, int], people_by_days: Sequence[int], begun_days: int, now: int
) -> pb.StickinessPeriod:
    """Return the days active of a period: people_by_days[i] people were active on i + 1 days."""
    users = sum(people_by_days)
    activity = sum(days * people for days, people in enumerate(people_by_days, 1))
    reason = "" if users and begun_days else "NO_ACTIVE_USERS" if begun_days else "NOT_BEGUN"
    return pb.StickinessPeriod(
        start_time=from_micros(period[0]),
        end_time=from_micros(period[1]),
        users=users,
        histogram=[
            pb.StickinessBucket(days=days, users=people) for days, people in enumerate(people_by_days, 1)
        ],
        average_days=None if reason else activity / users,
        stickiness_ratio=None if reason else activity / users / begun_days,
        begun_days=begun_days,
        absent_reason=reason,
        complete=period[1] <= now,
    )
