"""Questions about coming back that make no sense: each is refused, and every bad field named at once."""

from datetime import UTC, date, datetime
from typing import Any

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import retention_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service


def at(year: int, month: int = 1, day: int = 1) -> Timestamp:
    return Timestamp(seconds=int(datetime(year, month, day, tzinfo=UTC).timestamp()))


def years(start: int, end: int) -> TimeRange:
    return TimeRange(start_time=at(start), end_time=at(end))


DAY = TimeRange(start_time=at(2011, 11, 10), end_time=at(2011, 11, 11))
REQUESTS: dict[str, Any] = {
    "GetRetention": pb.GetRetentionRequest(interval=INTERVAL_DAY, time_range=DAY),
    "GetLifecycle": pb.GetLifecycleRequest(interval=INTERVAL_WEEK, time_range=DAY),
    "GetStickiness": pb.GetStickinessRequest(interval=INTERVAL_MONTH, time_range=DAY),
}


def changed(name: str, /, **changes: object) -> Any:  # noqa: ANN401 - the request of whatever call
    request: Any = type(REQUESTS[name])()
    request.CopyFrom(REQUESTS[name])
    for field in changes:
        request.ClearField(field)
    request.MergeFrom(type(request)(**changes))
    return request


def check(service: Service, name: str, *fields: str, **changes: object) -> None:
    refused = refusal(lambda: getattr(service.events, name)(changed(name, **changes)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == set(fields)


@pytest.mark.parametrize("name", REQUESTS)
def test_ranges_zones_and_people_without_sense(service: Service, name: str) -> None:
    inverted = TimeRange(start_time=at(2011), end_time=at(2010))
    check(service, name, "time_range", time_range=None)
    check(service, name, "time_range.start_time", "time_range.end_time", time_range=TimeRange())
    check(service, name, "time_range.end_time", time_range=inverted)
    check(service, name, "time_range", time_range=years(1, 2011))
    check(service, name, "time_zone", time_zone="Mars/Olympus")
    check(service, name, "known_only", include_sessions=True, known_only=True)
    check(service, name, "interval", interval=0)
    check(service, name, "interval", interval=99)
    check(service, name, "interval", interval=INTERVAL_HOUR)
    check(
        service,
        name,
        "time_range.end_time",
        "time_zone",
        "interval",
        "known_only",
        time_range=inverted,
        time_zone="x",
        interval=99,
        include_sessions=True,
        known_only=True,
    )


def test_days_active_need_weeks_or_months(service: Service) -> None:
    check(service, "GetStickiness", "interval", interval=INTERVAL_DAY)


@pytest.mark.parametrize("name", REQUESTS)
def test_ranges_wider_than_ten_thousand_days_are_told_the_limit(service: Service, name: str) -> None:
    request = changed(name, time_range=years(1970, 2000))
    request.interval = INTERVAL_MONTH if name == "GetStickiness" else INTERVAL_DAY
    refused = refusal(lambda: getattr(service.events, name)(request))
    assert "10,000" in refused.fields["time_range"]


def test_cohorts_of_the_future_are_refused(service: Service, clock: Clock) -> None:
    """It is 11 November 2011, 08:26:40."""
    later = TimeRange(start_time=at(2011, 11, 12), end_time=at(2011, 11, 13))
    check(service, "GetRetention", "time_range.start_time", time_range=later)
    soon = TimeRange(start_time=Timestamp(seconds=clock.micros // 1_000_000 + 1), end_time=at(2011, 11, 12))
    check(service, "GetRetention", "time_range.start_time", time_range=soon)
    soon.start_time.seconds -= 1
    service.events.GetRetention(changed("GetRetention", time_range=soon))


def test_a_grid_too_large_is_told_the_limit(service: Service) -> None:
    year = years(2010, 2011)
    service.events.GetRetention(changed("GetRetention", time_range=year, offset_days=range(400)))
    refused = refusal(
        lambda: service.events.GetRetention(
            changed("GetRetention", time_range=years(2009, 2011), offset_days=range(400))
        )
    )
    assert "200,000" in refused.fields["time_range"]


def test_offsets_events_and_conditions_without_sense(service: Service) -> None:
    check(service, "GetRetention", "offset_days[1]", "offset_days[2]", offset_days=[0, -1, 1_001])
    check(service, "GetRetention", "offset_days", offset_days=[1] * 401)
    check(
        service,
        "GetRetention",
        "start_event",
        "start_filters[0].property",
        "start_filters[0].operator",
        "start_filters[0].values",
        "return_events[1]",
        "return_filters[0].property",
        "return_filters[0].operator",
        "return_filters[0].values",
        "mode",
        "entry",
        start_event="\0",
        start_filters=[PropertyFilter()],
        return_events=["ok", "x" * 201],
        return_filters=[PropertyFilter()],
        mode=99,
        entry=99,
    )
    check(service, "GetRetention", "return_events", return_events=["e"] * 101)


def test_offsets_are_answered_in_rising_order_each_once(service: Service) -> None:
    def offsets(asked: list[int]) -> list[int]:
        request = changed("GetRetention", offset_days=asked)
        [cohort] = service.events.GetRetention(request).cohorts
        return [cell.offset_days for cell in cohort.cells]

    assert offsets([30, 0, 7, 7]) == [0, 7, 30]
    assert offsets([]) == [1, 7, 14, 30]


def test_what_was_not_said_is_told_in_the_answer(service: Service) -> None:
    answer = service.events.GetRetention(REQUESTS["GetRetention"])
    assert (answer.mode, answer.entry) == (pb.RETENTION_MODE_ON_DAY, pb.RETENTION_ENTRY_RECURRING)
    assert answer.time_zone == "UTC"


def test_the_first_and_the_last_days_there_can_be_are_answered(service: Service, clock: Clock) -> None:
    begin = TimeRange(start_time=at(1970), end_time=at(1970, 1, 2))
    for name, request in REQUESTS.items():
        request = changed(name, time_range=begin, time_zone="Pacific/Auckland")  # noqa: PLW2901 - of this zone
        request.interval = INTERVAL_MONTH
        getattr(service.events, name)(request)
    clock.micros = int(datetime(2099, 12, 31, 23, tzinfo=UTC).timestamp()) * 1_000_000
    last = TimeRange(start_time=Timestamp(seconds=at(2099, 12, 31).seconds), end_time=at(2100))
    for name in REQUESTS:
        request = changed(name, time_range=last, interval=INTERVAL_WEEK)
        getattr(service.events, name)(request)
    assert date(2099, 12, 31).weekday() == 3  # the week reaches into 2100
