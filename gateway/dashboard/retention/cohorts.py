"""Who comes back: cohorts as rows, days after entry as columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import retention_pb2

from gateway.dashboard.page import formats
from shared import validation

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from gateway.dashboard.page.csv_files import Cell
    from gateway.dashboard.page.scope import Scope
    from shared.validation import Violations

COHORTS: Final = {"": "fitting", "day": "days", "week": "weeks", "month": "months"}
MODES: Final = {"": "on the day", "after": "on the day or later"}
ENTRIES: Final = {"": "each time", "first": "the first time ever"}
OFFSET_DAYS: Final = (1, 3, 7, 14, 30, 60, 90)
# Shades of the heat, from 0 for nobody to this for the highest ratio of the grid.
SHADES: Final = 8
CSV_HEADER: Final = (
    "cohort_start_time",
    "cohort_end_time",
    "size",
    "offset_days",
    "returned",
    "ratio",
    "complete",
)

_INTERVALS: Final = {
    "day": common_pb2.INTERVAL_DAY,
    "week": common_pb2.INTERVAL_WEEK,
    "month": common_pb2.INTERVAL_MONTH,
}
_DAILY_DAYS, _WEEKLY_DAYS = 14, 120
_REASONS: Final = {
    "EMPTY_COHORT": "nobody entered",
    "NOT_BEGUN": "this day has not begun for anybody",
    "BEYOND_RANGE": "this day lies behind the range",
    "NO_COMPLETE_COHORT": "no cohort is complete here",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the grid shows. It lives in the page's address; empty texts stand for the usual."""

    start: str = ""
    returned: str = ""
    cohort: str = ""
    mode: str = ""
    entry: str = ""

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        given = {
            "start": self.start,
            "return": self.returned,
            "cohort": self.cohort,
            "mode": self.mode,
            "entry": self.entry,
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Shaded:
    """A cell: its text, what it is made of, its shade, and whether it may still change."""

    text: str
    detail: str
    shade: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A cohort, or the mean of all."""

    label: str
    size: str
    cells: tuple[Shaded, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The table: a column for each offset, a row for each cohort, and the weighted mean."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    mean: Row


def read(violations: "Violations", parameters: Mapping[str, str]) -> Choice:
    """Read the choice of an address."""
    for name, known in (("cohort", COHORTS), ("mode", MODES), ("entry", ENTRIES)):
        if parameters.get(name, "") not in known:
            violations.add(name, f"must be one of {', '.join(filter(None, known))}, or absent")
    start, returned = (
        validation.text(violations, name, parameters.get(name, ""), maximum=200, required=False)
        for name in ("start", "return")
    )
    cohort, mode, entry = (parameters.get(name, "") for name in ("cohort", "mode", "entry"))
    return Choice(start, returned, cohort, mode, entry)


def request(choice: Choice, shown: "Scope") -> retention_pb2.GetRetentionRequest:
    """Return the question for the chosen grid."""
    after, first = choice.mode == "after", choice.entry == "first"
    return retention_pb2.GetRetentionRequest(
        start_event=choice.start,
        return_events=[choice.returned] if choice.returned else [],
        interval=_INTERVALS[choice.cohort or _fitting(shown.days)],
        offset_days=OFFSET_DAYS,
        mode=retention_pb2.RETENTION_MODE_ON_OR_AFTER if after else retention_pb2.RETENTION_MODE_ON_DAY,
        entry=retention_pb2.RETENTION_ENTRY_FIRST_EVER if first else retention_pb2.RETENTION_ENTRY_RECURRING,
        time_range=shown.time_range(),
        time_zone=shown.zone.key,
    )


def grid(answer: retention_pb2.GetRetentionResponse, shown: "Scope") -> Grid:
    """Return the table of an answer."""
    ratios = [cell.ratio for cohort in answer.cohorts for cell in cohort.cells if cell.HasField("ratio")]
    highest = max(ratios, default=0.0)
    return Grid(
        header=tuple(f"Day {average.offset_days}" for average in answer.averages),
        rows=tuple(_row(cohort, shown.zone, highest) for cohort in answer.cohorts),
        mean=Row("Weighted mean", "", tuple(_mean(average, highest) for average in answer.averages)),
    )


def exported(answer: retention_pb2.GetRetentionResponse, zone: "ZoneInfo") -> "list[tuple[Cell, ...]]":
    """Return the rows of a CSV file with the columns of CSV_HEADER, one for each cell."""
    return [
        (
            formats.exact_time(formats.moment(cohort.start_time), zone),
            formats.exact_time(formats.moment(cohort.end_time), zone),
            cohort.size,
            cell.offset_days,
            cell.returned,
            cell.ratio if cell.HasField("ratio") else None,
            "yes" if cell.complete else "no",
        )
        for cohort in answer.cohorts
        for cell in cohort.cells
    ]


def _fitting(days: int) -> str:
    if days <= _DAILY_DAYS:
        return "day"
    return "week" if days <= _WEEKLY_DAYS else "month"


def _row(cohort: retention_pb2.RetentionCohort, zone: "ZoneInfo", highest: float) -> Row:
    start = formats.moment(cohort.start_time).astimezone(zone)
    cells = tuple(_cell(cell, cohort.size, highest) for cell in cohort.cells)
    return Row(formats.day(start), formats.whole(cohort.size), cells)


def _cell(cell: retention_pb2.RetentionCell, size: int, highest: float) -> Shaded:
    if not cell.HasField("ratio"):
        return Shaded(formats.NOTHING, _REASONS.get(cell.absent_reason, cell.absent_reason), 0, complete=True)
    so_far = "" if cell.complete else ", so far"
    detail = f"{formats.whole(cell.returned)} of {formats.whole(size)}{so_far}"
    return Shaded(formats.percent(cell.ratio), detail, _shade(cell.ratio, highest), cell.complete)


def _mean(average: retention_pb2.RetentionAverage, highest: float) -> Shaded:
    if not average.HasField("ratio"):
        reason = _REASONS.get(average.absent_reason, average.absent_reason)
        return Shaded(formats.NOTHING, reason, 0, complete=True)
    people = f"{formats.whole(average.returned)} of {formats.whole(average.users)}"
    detail = f"{people} in {average.cohorts} complete cohorts"
    return Shaded(formats.percent(average.ratio), detail, _shade(average.ratio, highest), complete=True)


def _shade(ratio: float, highest: float) -> int:
    return round(SHADES * ratio / highest) if highest else 0
