"""Cohorts on the wire: checked and read, and written."""

from typing import TYPE_CHECKING, cast

from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator, TimeRange
from brain.events.v1 import cohorts_pb2 as pb
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from services.events import messages
from services.events.cohorts.cohort import Cohort, Definition
from services.events.retention.answers import ENTRY_NUMBERS
from services.events.retention.questions import ENTRIES, start_selection
from shared.calendar import Interval
from shared.intervals import EARLIEST, LATEST, Limit, units_of
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, required_range, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.events.domain import Condition, Scalar

MAXIMUM_ID, MAXIMUM_NAME, MAXIMUM_DESCRIPTION = 200, 200, 2_000


def to_create(request: pb.CreateCohortRequest, reporting_zone: "ZoneInfo", now: int) -> Cohort:
    """Read a CreateCohortRequest."""
    violations = Violations()
    asked = request.cohort
    cohort = Cohort(
        cohort_id=text(violations, "cohort_id", asked.cohort_id, maximum=MAXIMUM_ID),
        name=text(violations, "name", asked.name, maximum=MAXIMUM_NAME),
        description=text(
            violations, "description", asked.description, maximum=MAXIMUM_DESCRIPTION, required=False
        ),
        definition=_definition(violations, asked.definition, reporting_zone, now),
        create_time=now,
    )
    violations.raise_if_any(prefix="cohort.")
    return cohort


def cohort_id(request: pb.GetCohortRequest | pb.DeleteCohortRequest) -> str:
    """Return the id asked for."""
    violations = Violations()
    found = text(violations, "cohort_id", request.cohort_id, maximum=MAXIMUM_ID)
    violations.raise_if_any()
    return found


def to_message(cohort: Cohort) -> pb.Cohort:
    """Return a cohort as a message."""
    definition = cohort.definition
    return pb.Cohort(
        cohort_id=cohort.cohort_id,
        name=cohort.name,
        description=cohort.description,
        definition=pb.CohortDefinition(
            start_event=definition.starts.events[0] if definition.starts.events else "",
            start_filters=map(_filter, definition.starts.conditions),
            time_range=TimeRange(
                start_time=from_micros(definition.start), end_time=from_micros(definition.end)
            ),
            time_zone=messages.zone_name(definition.zone),
            entry=ENTRY_NUMBERS[definition.entry],
        ),
        create_time=from_micros(cohort.create_time),
    )


def _definition(
    violations: Violations, asked: pb.CohortDefinition, reporting_zone: "ZoneInfo", now: int
) -> Definition:
    zone = time_zone(violations, "definition.time_zone", asked.time_zone, reporting_zone)
    start, end = _range(violations, asked, zone, now)
    return Definition(
        starts=start_selection(violations, asked.start_event, asked.start_filters, "definition."),
        start=start,
        end=end,
        zone=zone,
        entry=chosen(violations, "definition.entry", asked.entry, ENTRIES),
    )


def _range(violations: Violations, asked: pb.CohortDefinition, zone: "ZoneInfo", now: int) -> tuple[int, int]:
    field = "definition.time_range"
    start, end = required_range(violations, field, asked)
    if start == end:
        return start, end
    if start < EARLIEST or end > LATEST:
        violations.add(field, "must lie between 1970 and 2100")
        return 0, 0
    if start > now:
        violations.add(f"{field}.start_time", "lies in the future: nobody can be in the cohort yet")
    units_of(violations, field, (start, end), Interval.DAY, zone, Limit(what="spans"))
    return start, end


def _filter(condition: "Condition") -> PropertyFilter:
    return PropertyFilter(
        property=".".join(condition.path),
        operator=cast("PropertyOperator.ValueType", condition.operator.value),
        values=map(_value, condition.values),
    )


def _value(scalar: "Scalar") -> Value:
    match scalar:
        case bool():
            return Value(bool_value=scalar)
        case str():
            return Value(string_value=scalar)
        case None:
            return Value(null_value=NULL_VALUE)
        case _:
            return Value(number_value=scalar)
