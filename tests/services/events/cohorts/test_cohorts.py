"""Named cohorts: kept once under their id, counted anew whenever asked."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import (
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_IN,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import cohorts_pb2 as pb
from brain.events.v1 import events_pb2
from brain.events.v1.retention_pb2 import RETENTION_ENTRY_FIRST_EVER, RETENTION_ENTRY_RECURRING
from google.protobuf.struct_pb2 import NULL_VALUE, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service


def at(text: str) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.fromisoformat(text).replace(tzinfo=UTC))
    return stamp


def span(start: str, end: str) -> TimeRange:
    return TimeRange(start_time=at(start), end_time=at(end))


def cohort(cohort_id: str = "buyers", **definition: Any) -> pb.Cohort:  # noqa: ANN401 - fields of whatever type
    definition.setdefault("time_range", span("2011-09-01", "2011-09-03"))
    return pb.Cohort(cohort_id=cohort_id, name="Buyers", definition=pb.CohortDefinition(**definition))


def create(service: Service, asked: pb.Cohort) -> pb.Cohort:
    return service.events.CreateCohort(pb.CreateCohortRequest(cohort=asked)).cohort


def get(service: Service, cohort_id: str = "buyers") -> pb.GetCohortResponse:
    return service.events.GetCohort(pb.GetCohortRequest(cohort_id=cohort_id))


def track(service: Service, *events: tuple[str, str, str]) -> None:
    """Store (time, who, event); who is a user, a device ("device-…") or a session ("visit-…")."""
    batch = events_pb2.TrackEventsRequest()
    for time, who, name in events:
        field = {"device": "anonymous_id", "visit": "session_id"}.get(who.partition("-")[0], "user_id")
        event = events_pb2.Event(event_id=f"{time} {who} {name}", session_id="s", event=name)
        setattr(event, field, who)
        event.event_time.CopyFrom(at(time))
        event.properties_json = f'{{"who": "{who}"}}'
        batch.events.append(event)
    assert service.events.TrackEvents(batch).accepted == len(events)


ALL_KINDS = [
    Value(string_value="a.b"),
    Value(number_value=6),
    Value(number_value=0.5),
    Value(number_value=1e300),
    Value(bool_value=True),
    Value(null_value=NULL_VALUE),
]


def test_a_cohort_is_kept_as_it_was_given(service: Service, clock: Clock) -> None:
    asked = cohort(
        start_event="bought",
        start_filters=[PropertyFilter(property="plan.name", operator=PROPERTY_OPERATOR_IN, values=ALL_KINDS)],
        time_range=span("2011-09-01T10:30:00.000001", "2011-12-24T00:00"),
        time_zone="Asia/Kolkata",
        entry=RETENTION_ENTRY_FIRST_EVER,
    )
    asked.description = "everybody who bought"
    created = create(service, asked)
    assert created.create_time.ToMicroseconds() == clock.micros
    asked.create_time.CopyFrom(created.create_time)
    assert created == asked
    assert get(service).cohort == asked


def test_the_zone_and_the_entry_that_were_not_said_are_kept(service: Service) -> None:
    created = create(service, cohort())
    assert created.definition.time_zone == "UTC"
    assert created.definition.entry == RETENTION_ENTRY_RECURRING


def test_creating_again_changes_nothing_and_tells_the_first(service: Service, clock: Clock) -> None:
    first = create(service, cohort())
    clock.micros += 3_600_000_000
    assert create(service, cohort()) == first
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    assert [(each.actor, each.action) for each in entries if each.subject == "buyers"] == [
        ("test", "CreateCohort")
    ]


def number(value: Value) -> list[PropertyFilter]:
    return [PropertyFilter(property="n", operator=PROPERTY_OPERATOR_EQUALS, values=[value])]


@pytest.mark.parametrize(
    "changed",
    [
        cohort(start_event="sold"),
        cohort(start_filters=number(Value(number_value=1))),
        cohort(start_filters=number(Value(bool_value=True))),
        cohort(time_range=span("2011-09-01", "2011-09-04")),
        cohort(time_zone="Europe/London"),
        cohort(entry=RETENTION_ENTRY_FIRST_EVER),
        pb.Cohort(cohort_id="buyers", name="Others", definition=cohort().definition),
        pb.Cohort(cohort_id="buyers", name="Buyers", description="d", definition=cohort().definition),
    ],
    ids=["event", "filter", "boolean", "range", "zone", "entry", "name", "description"],
)
def test_another_cohort_of_the_same_id_is_refused(service: Service, changed: pb.Cohort) -> None:
    created = create(service, cohort())
    create(service, cohort("others", start_filters=number(Value(bool_value=True))))
    refused = refusal(lambda: create(service, changed))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "COHORT_EXISTS")
    assert get(service).cohort == created


def test_the_number_one_is_not_true(service: Service) -> None:
    create(service, cohort(start_filters=number(Value(bool_value=True))))
    refused = refusal(lambda: create(service, cohort(start_filters=number(Value(number_value=1)))))
    assert refused.code is grpc.StatusCode.ALREADY_EXISTS


def test_cohorts_are_listed_by_id_page_after_page(service: Service) -> None:
    for name in ("b", "é", "a", "B", "c"):
        create(service, cohort(name))
    request = pb.ListCohortsRequest(page_size=2)
    listed: list[str] = []
    while True:
        answer = service.events.ListCohorts(request)
        listed += [each.cohort_id for each in answer.cohorts]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert listed == ["B", "a", "b", "c", "é"]


def test_a_deleted_cohort_is_gone_and_its_id_is_free(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(service, cohort())
    service.events.DeleteCohort(pb.DeleteCohortRequest(cohort_id="buyers"))
    delete = pb.DeleteCohortRequest(cohort_id="buyers")
    with monkeypatch.context() as retried:
        retried.setattr("services.events.cohorts.calls.is_retry", lambda _context: True)
        service.events.DeleteCohort(delete)
    for call in (lambda: get(service), lambda: service.events.DeleteCohort(delete)):
        refused = refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "COHORT_UNKNOWN")
    create(service, cohort(start_event="sold"))
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    assert [each.action for each in entries if each.subject == "buyers"] == [
        "CreateCohort",
        "DeleteCohort",
        "CreateCohort",
    ]


def test_a_cohort_is_counted_as_it_is_now(service: Service, clock: Clock) -> None:
    """It is the morning of 11 November 2011. Ann came early, Bob late, the device just in time."""
    create(service, cohort(start_event="bought"))
    assert (get(service).users, [each.ratio for each in get(service).retention]) == (0, [0] * 4)
    track(
        service,
        ("2011-08-31T23:59:59", "carl", "bought"),
        ("2011-09-01T00:00", "ann", "bought"),
        ("2011-09-02T23:59:59", "device-1", "bought"),
        ("2011-09-02T12:00", "bob", "bought"),
        ("2011-09-02T12:00", "dora", "seen"),
        ("2011-09-02T12:00", "visit-1", "bought"),
        ("2011-09-03T00:00", "emil", "bought"),
        # Ann came again on her days 1, 7 and 30, also as a buyer on the cohort's second day; Bob on 7 and 30.
        ("2011-09-02T10:00", "ann", "bought"),
        ("2011-09-08T10:00", "ann", "seen"),
        ("2011-10-01T10:00", "ann", "seen"),
        ("2011-09-09T10:00", "bob", "seen"),
        ("2011-10-02T10:00", "bob", "seen"),
        ("2011-11-11T01:00", "ann", "seen"),
        ("2011-11-05T00:00", "bob", "seen"),
        ("2011-10-13T00:00", "device-1", "seen"),
        ("2011-10-12T23:00", "device-1", "seen"),
        ("2011-11-11T01:00", "carl", "seen"),
    )
    found = get(service)
    assert found.users == 3
    assert (found.active_day_users, found.active_week_users, found.active_month_users) == (1, 2, 3)
    assert [(each.offset_days, each.users, each.returned) for each in found.retention] == [
        (1, 3, 1),
        (7, 3, 2),
        (14, 3, 0),
        (30, 3, 2),
    ]
    assert [each.cohorts for each in found.retention] == [2] * 4
    assert found.retention[1].ratio == pytest.approx(2 / 3)
    assert found.complete
    track(service, ("2011-09-01T09:00", "late", "bought"))
    assert get(service).users == 4


def test_only_people_whose_day_has_closed_count_as_not_returned(service: Service, clock: Clock) -> None:
    """Of a cohort that still grows, day 1 of yesterday's is not over and today's has not begun."""
    create(service, cohort(time_range=span("2011-11-03", "2012-01-01")))
    track(
        service,
        ("2011-11-03T12:00", "ann", "bought"),
        ("2011-11-09T12:00", "bob", "bought"),
        ("2011-11-10T12:00", "carl", "bought"),
        ("2011-11-11T01:00", "dora", "bought"),
        ("2011-11-10T13:00", "bob", "seen"),
        ("2011-11-11T02:00", "carl", "seen"),
    )
    found = get(service)
    assert (found.users, found.complete) == (4, False)
    assert [(each.users, each.returned) for each in found.retention] == [(2, 1), (1, 0), (0, 0), (0, 0)]
    assert [each.absent_reason for each in found.retention] == ["", "", *["NO_COMPLETE_COHORT"] * 2]
    assert not found.retention[2].HasField("ratio")


def test_first_ever_leaves_out_those_who_had_started_before(service: Service) -> None:
    track(
        service,
        ("2011-08-01T12:00", "ann", "bought"),
        ("2011-09-01T12:00", "ann", "bought"),
        ("2011-08-01T12:00", "bob", "seen"),
        ("2011-09-01T12:00", "bob", "bought"),
    )
    for entry, users in ((RETENTION_ENTRY_FIRST_EVER, 1), (RETENTION_ENTRY_RECURRING, 2)):
        name = f"entry {entry}"
        create(service, cohort(name, start_event="bought", entry=entry))
        assert get(service, name).users == users


def test_days_are_those_of_the_cohorts_zone(service: Service) -> None:
    """Half past six in the evening, UTC, is midnight in Kolkata."""
    track(service, ("2011-09-01T18:29:59", "ann", "bought"), ("2011-09-01T18:30", "ann", "seen"))
    for zone, returned in (("UTC", 0), ("Asia/Kolkata", 1)):
        create(service, cohort(zone, start_event="bought", time_zone=zone))
        assert get(service, zone).retention[0].returned == returned


def test_a_range_may_begin_and_end_within_a_day(service: Service) -> None:
    create(service, cohort(time_range=span("2011-09-01T10:30", "2011-09-03T10:30")))
    track(
        service,
        ("2011-09-01T10:29:59.999999", "early", "seen"),
        ("2011-09-01T10:30", "ann", "seen"),
        ("2011-09-03T10:29:59.999999", "bob", "seen"),
        ("2011-09-03T10:30", "late", "seen"),
    )
    assert get(service).users == 2


def test_conditions_say_who_is_in(service: Service) -> None:
    track(service, ("2011-09-01T12:00", "ann", "bought"), ("2011-09-01T12:00", "bob", "bought"))
    named = PropertyFilter(
        property="who", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="ann")]
    )
    create(service, cohort(start_filters=[named]))
    assert get(service).users == 1
