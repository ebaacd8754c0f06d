"""Events over time: how often, by how many people, worth how much, whole or by a dimension."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2

from gateway.dashboard.page import charts, formats
from shared import validation

if TYPE_CHECKING:
    from gateway.dashboard.page.csv_files import Cell
    from gateway.dashboard.page.scope import Scope
    from shared.validation import Violations

MEASURES: Final = {"events": "Events", "users": "People", "value": "Value"}
BREAKDOWNS: Final = {"": "Nothing", "event": "Event", "category": "Category", "property": "Property …"}
# More lines than this cannot be told apart.
LINES: Final = 6
EXPORTED_GROUPS: Final = 100

_GROUPS: Final = {
    "": events_pb2.COUNT_GROUP_UNSPECIFIED,
    "event": events_pb2.COUNT_GROUP_EVENT,
    "category": events_pb2.COUNT_GROUP_CATEGORY,
    "property": events_pb2.COUNT_GROUP_PROPERTY,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the trend shows. It lives in the page's address."""

    measure: str = "events"
    by: str = ""
    # The dotted path of a break-down by property.
    property: str = ""
    # Only this event; empty means all.
    event: str = ""

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        given = {"measure": self.measure, "by": self.by, "property": self.property, "event": self.event}
        return {
            name: value for name, value in given.items() if value and (name, value) != ("measure", "events")
        }


@dataclass(frozen=True, slots=True)
class Trend:
    """A chart, and the same numbers as a table: a header, then a row for each interval."""

    chart: charts.Chart
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # What the break-down leaves out, or why nothing is drawn.
    note: str


def read(violations: "Violations", parameters: Mapping[str, str]) -> Choice:
    """Read the choice of an address."""
    measure = parameters.get("measure", "events")
    if measure not in MEASURES:
        violations.add("measure", f"must be one of {', '.join(MEASURES)}")
    by = parameters.get("by", "")
    if by not in BREAKDOWNS:
        violations.add("by", f"must be one of {', '.join(filter(None, BREAKDOWNS))}, or absent")
    named = validation.text(
        violations, "property", parameters.get("property", ""), maximum=200, required=False
    )
    event = validation.text(violations, "event", parameters.get("event", ""), maximum=200, required=False)
    return Choice(measure, by, named, event)


def request(choice: Choice, shown: "Scope", groups: int = LINES) -> events_pb2.CountEventsRequest:
    """Return the question for the chosen counts. A property without a name asks for no break-down."""
    by = "" if choice.by == "property" and not choice.property else choice.by
    return events_pb2.CountEventsRequest(
        events=[choice.event] if choice.event else [],
        time_range=shown.time_range(),
        time_zone=shown.zone.key,
        interval=shown.interval,
        group_by=_GROUPS[by],
        group_property=choice.property if by == "property" else "",
        page_size=groups if by else 0,
    )


def trend(
    choice: Choice,
    shown: "Scope",
    counted: events_pb2.CountEventsResponse,
    before: events_pb2.CountEventsResponse | None = None,
) -> Trend:
    """Return the chart of the counts, beside those of as many days before where they are given."""
    groups = _grouped(counted.counts)
    starts = [formats.moment(count.start_time) for count in next(iter(groups.values()), [])]
    complete = sum(count.complete for count in next(iter(groups.values()), []))
    lines = [
        charts.Series(_group_name(key, choice), tuple(_measured(count, choice) for count in counts), complete)
        for key, counts in groups.items()
    ]
    if before is not None and lines:
        values = [_measured(count, choice) for count in before.counts][: len(starts)]
        padded = (*values, *[None] * (len(starts) - len(values)))
        lines.append(charts.Series(f"The {shown.days} days before", padded, len(starts)))
    notes = [f"The {LINES} largest groups are shown."] if counted.next_page_token else []
    if shown.compare and choice.by:
        # Two periods of several lines each cannot be told apart.
        notes.append("A break-down is not set beside the days before.")
    labels = [label(start, shown) for start in starts]
    return Trend(
        _chart(choice, labels, lines),
        ("Time", *(one.name for one in lines)),
        tuple(
            (text, *(_shown(one.values[index], choice) for one in lines)) for index, text in enumerate(labels)
        ),
        " ".join(notes) if lines else "No event matches.",
    )


def exported(
    choice: Choice, shown: "Scope", counted: events_pb2.CountEventsResponse
) -> "tuple[tuple[str, ...], list[tuple[Cell, ...]]]":
    """Return the header and rows of the CSV file: one row for each interval of each group."""
    rows: list[tuple[Cell, ...]] = [
        (
            formats.exact_time(formats.moment(count.start_time), shown.zone),
            _group_name(count.group if count.HasField("group") else None, choice) if choice.by else None,
            count.events,
            count.users,
            count.value_sum,
            "yes" if count.complete else "no",
        )
        for count in counted.counts
    ]
    return (
        "start_time",
        choice.property or choice.by or "group",
        "events",
        "people",
        "value_sum",
        "complete",
    ), rows


def label(start: datetime, shown: "Scope") -> str:
    """Return how an interval is called under the chart."""
    local = start.astimezone(shown.zone)
    if shown.interval == common_pb2.INTERVAL_HOUR:
        hour = f"{local:%H:%M}"
        return hour if shown.days == 1 else f"{formats.day_and_month(local)}, {hour}"
    if shown.interval == common_pb2.INTERVAL_MONTH:
        return f"{local:%b %Y}"
    return formats.day_and_month(local)


def _grouped(
    counts: Sequence[events_pb2.EventCount],
) -> dict[str | None, list[events_pb2.EventCount]]:
    groups: dict[str | None, list[events_pb2.EventCount]] = {}
    for count in counts:
        groups.setdefault(count.group if count.HasField("group") else None, []).append(count)
    return groups


def _group_name(key: str | None, choice: Choice) -> str:
    if not choice.by or (choice.by == "property" and not choice.property):
        return MEASURES[choice.measure]
    if key is None:
        return f"(without {choice.property})"
    if choice.by == "property":
        value = json.loads(key)
        return value if isinstance(value, str) else key
    return key or "(no category)"


def _measured(count: events_pb2.EventCount, choice: Choice) -> float:
    if choice.measure == "value":
        return count.value_sum
    return float(count.users if choice.measure == "users" else count.events)


def _shown(value: float | None, choice: Choice) -> str:
    if value is None:
        return formats.NOTHING
    return f"{value:,.2f}" if choice.measure == "value" else formats.whole(value)


def _chart(choice: Choice, labels: Sequence[str], lines: Sequence[charts.Series]) -> charts.Chart:
    every = [value for one in lines for value in one.values]
    marks = charts.axis(every, whole=choice.measure != "value")
    texts = [
        "\n".join([text, *(f"{one.name}: {_shown(one.values[index], choice)}" for one in lines)])
        for index, text in enumerate(labels)
    ]
    return charts.Chart(
        description=f"{MEASURES[choice.measure]} over time, {len(lines)} lines of {len(labels)} points",
        lines=tuple(charts.line(one, place, marks[0], marks[-1]) for place, one in enumerate(lines)),
        levels=charts.levels(marks, [formats.short(mark) for mark in marks]),
        moments=charts.moments(labels),
        columns=charts.columns(texts),
    )
