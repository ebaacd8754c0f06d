"""The conversion metrics through ReadMetrics, against counts in plain Python over what was stored."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from statistics import median
from zoneinfo import ZoneInfo

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
)
from brain.metrics.v1.metrics_pb2 import (
    ListMetricsRequest,
    MetricPoint,
    MetricQuery,
    ReadMetricRequest,
)
from google.protobuf.struct_pb2 import Value

from services.events.conversion import first_activity
from services.events.rollups.compaction import compact
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.conversion.asking import MICROS, micros, span, store
from tests.services.events.conversion.attempts import outcomes, rate
from tests.services.events.conversion.histories import DAY, HOUR, Row, histories, named, rows, stored

FIRST, LAST = micros(2010, 12, 27), micros(2011, 1, 10)
ZONES = ("UTC", "Asia/Kolkata", "Australia/Lord_Howe")
PRO = PropertyFilter(property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="pro")])
Filtered = tuple[list[PropertyFilter], Callable[[object], bool]]
FILTERS: list[Filtered] = [([], lambda _: True), ([PRO], lambda plan: plan == "pro")]


def read(
    service: Service, name: str, labels: Mapping[str, str], interval: int = INTERVAL_DAY, **changes: object
) -> Sequence[MetricPoint]:
    query = MetricQuery(
        name=name,
        labels=labels,
        interval=interval,  # type: ignore[arg-type]  # one of the enum's numbers
        time_range=span(FIRST, LAST),
    )
    query.MergeFrom(MetricQuery(**changes))  # type: ignore[arg-type]  # of the query's fields
    return service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points


def values(points: Sequence[MetricPoint]) -> list[tuple[float | None, int]]:
    return [(point.value if point.HasField("value") else None, point.sample_size) for point in points]


def bounds(points: Sequence[MetricPoint], zone: str, interval: int) -> list[tuple[int, int]]:
    """The intervals that begin where the points do, by the calendar of datetime."""
    days = 7 if interval == INTERVAL_WEEK else 1
    result = []
    for point in points:
        start = point.start_time.ToMicroseconds()
        local = datetime.fromtimestamp(start // MICROS, UTC).astimezone(ZoneInfo(zone))
        end: date = local.date() + timedelta(days=days)
        after = datetime(end.year, end.month, end.day, tzinfo=ZoneInfo(zone))
        assert (local.hour, local.minute) == (0, 0)
        result.append((start, int(after.timestamp()) * MICROS))
    return result


@pytest.mark.parametrize("window_minutes", [90, None])
def test_conversion_and_completion_are_those_of_a_search(
    service: Service, window_minutes: int | None
) -> None:
    events = rows(FIRST, LAST)
    stored(service, events)
    window = window_minutes and window_minutes * 60 * MICROS
    name = "conversion_ratio" if window_minutes else "completion_ratio"
    labels = {"start": "seen", "end": "bought"} | (
        {"window_minutes": str(window_minutes)} if window_minutes else {}
    )
    for zone in ZONES:
        for filters, holds in FILTERS:
            found = histories(events, named("seen", holds), named("bought", holds))
            points = read(service, name, labels, time_zone=zone, filters=filters)
            expected = []
            for bucket in bounds(points, zone, INTERVAL_DAY):
                starters, converters, *_ = rate(list(outcomes(found, bucket, window, 2**62).values()))
                expected.append((converters / starters if starters else None, starters))
            assert values(points) == expected
            assert any(value for value, _ in expected)


def test_a_conversion_is_complete_once_its_last_window_is_over(service: Service, clock: Clock) -> None:
    clock.micros = FIRST + DAY + HOUR
    labels = {"start": "seen", "end": "bought"}
    points = read(service, "conversion_ratio", labels | {"window_minutes": "60"})
    assert [point.complete for point in points] == [True] + [False] * 13
    points = read(service, "conversion_ratio", labels | {"window_minutes": "61"})
    assert not any(point.complete for point in points)
    points = read(service, "completion_ratio", labels)
    assert [point.complete for point in points] == [True] + [False] * 13


def people(events: Sequence[Row]) -> list[Row]:
    return [row for row in events if not row[1].startswith("session")]


@pytest.mark.parametrize("interval", [INTERVAL_DAY, INTERVAL_WEEK])
@pytest.mark.usefixtures("still")
def test_feature_adoption_is_people_with_the_event_by_active_people(service: Service, interval: int) -> None:
    events = rows(FIRST, LAST)
    stored(service, events[:900])
    compact(service.engine)
    stored(service, events[900:])
    for zone in ZONES:
        for filters, holds in FILTERS:
            points = read(
                service,
                "feature_adoption_ratio",
                {"event": "bought"},
                interval,
                time_zone=zone,
                filters=filters,
            )
            expected: list[tuple[float | None, int]] = []
            for start, end in bounds(points, zone, interval):
                inside = [row for row in people(events) if start <= row[3] < end]
                active = {row[1] for row in inside}
                adopting = {row[1] for row in inside if named("bought", holds)(row)}
                expected.append((len(adopting) / len(active) if active else None, len(active)))
            assert values(points) == expected
            assert any(value for value, _ in expected)


@pytest.mark.parametrize("keys", [3, first_activity.STATEMENT_KEYS])
def test_time_to_value_is_counted_once_from_the_first_activity_of_all(
    service: Service, monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    monkeypatch.setattr(first_activity, "STATEMENT_KEYS", keys)
    earlier = [
        (number + 10_000, f"user-{number}", "seen", FIRST - 400 * DAY + number, None) for number in range(5)
    ]
    earlier += [(20_000, "user-7", "bought", FIRST - 3 * DAY, None)]  # their first lies before the range
    events = [row for row in rows(FIRST, LAST) if row[0] % 3 or row[2] == "seen"] + earlier
    stored(service, events)
    for zone in ZONES:
        for filters, holds in FILTERS:
            firsts: dict[str, int] = {}
            activity: dict[str, int] = {}
            for row in sorted(people(events), key=lambda row: row[3]):
                activity.setdefault(row[1], row[3])
                if named("bought", holds)(row):
                    firsts.setdefault(row[1], row[3])
            points = read(
                service, "time_to_value_seconds", {"event": "bought"}, time_zone=zone, filters=filters
            )
            expected: list[tuple[float | None, int]] = []
            for start, end in bounds(points, zone, INTERVAL_DAY):
                taken = [(time - activity[who]) / 1e6 for who, time in firsts.items() if start <= time < end]
                expected.append((median(taken) if taken else None, len(taken)))
            assert [size for _, size in values(points)] == [size for _, size in expected]
            assert [value for value, _ in values(points)] == pytest.approx([value for value, _ in expected])
            assert 0 < sum(size for _, size in expected) <= len(firsts)


def test_somebody_whose_first_event_it_is_has_the_value_at_once(service: Service) -> None:
    store(service, [("ann", "bought", FIRST), ("session-1", "bought", FIRST)])
    assert values(read(service, "time_to_value_seconds", {"event": "bought"}))[:2] == [(0, 1), (None, 0)]


def test_the_metrics_are_listed_with_their_labels(service: Service) -> None:
    listed = {metric.name: metric for metric in service.metrics.ListMetrics(ListMetricsRequest()).metrics}
    assert listed["conversion_ratio"].required_labels == ["start", "end", "window_minutes"]
    assert listed["completion_ratio"].required_labels == ["start", "end"]
    assert listed["feature_adoption_ratio"].required_labels == ["event"]
    assert listed["time_to_value_seconds"].unit == "seconds"


def test_a_window_that_is_none_is_refused_by_name(service: Service) -> None:
    for minutes in ("0", "527041", "-1", "1.5", "sixty", " 60", "\N{ARABIC-INDIC DIGIT SIX}", "9" * 200, ""):
        labels = {"start": "seen", "end": "bought", "window_minutes": minutes}
        refused = refusal(partial(read, service, "conversion_ratio", labels))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(refused.fields) == {"query.labels[window_minutes]"}
    missing = refusal(lambda: read(service, "conversion_ratio", {}))
    assert set(missing.fields) == {f"query.labels[{name}]" for name in ("start", "end", "window_minutes")}
