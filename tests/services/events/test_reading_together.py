"""Many series in one call are exactly what each is alone, and few statements answer them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
import sqlalchemy
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_WEEK, Interval, TimeRange
from brain.metrics.v1.metrics_pb2 import MetricQuery, MetricResult, ReadMetricRequest, ReadMetricsRequest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from services.events.domain import Condition, Operator, Selection
from services.events.reading.sharing import Wanted
from services.events.reading.store import CellStore
from services.events.rollups.cover import ReportingCalendar
from tests.services.events.conftest import Service
from tests.services.events.property_events import FIRST_SECOND, sent_events
from tests.services.events.property_filters import FILTERS, filter_of
from tests.services.events.registering import fill, fold, register, send

DAY = 86_400
METRICS = ["dau", "wau", "mau", "event_count", "event_users", "event_users", "event_value", "revenue", "arpu"]
RANGES = [(0, 2 * DAY), (0, 3_600), (DAY - 7_200, 2 * DAY + 7_200), (0, 8 * DAY)]
ZONES = ["", "Asia/Kolkata"]


@dataclass(frozen=True)
class Shape:
    """What several series have in common."""

    start: int
    end: int
    zone: str
    interval: Interval.ValueType


def queries(seed: int, number: int) -> list[MetricQuery]:
    """Return random queries, of which many share all but an event or a condition, and some are at fault."""
    chance = random.Random(seed)
    intervals = [INTERVAL_DAY, INTERVAL_DAY, chance.choice([INTERVAL_HOUR, INTERVAL_WEEK])]
    shapes = [Shape(*chance.choice(RANGES), chance.choice(ZONES), interval) for interval in intervals]
    conditions = [("plan", Operator.EQUALS, (1.0,)), *chance.sample(FILTERS, 12)]
    return [_query(chance, chance.choice(shapes), conditions) for _ in range(number)]


def _query(
    chance: random.Random, shape: Shape, conditions: list[tuple[str, Operator, tuple[Any, ...]]]
) -> MetricQuery:
    name = chance.choice(METRICS) if chance.random() < 0.97 else "event_cuont"
    query = MetricQuery(
        name=name,
        interval=shape.interval,
        time_range=TimeRange(
            start_time=Timestamp(seconds=FIRST_SECOND + shape.start),
            end_time=Timestamp(seconds=FIRST_SECOND + shape.end),
        ),
        time_zone=shape.zone if chance.random() < 0.98 else "Nowhere/Else",
        filters=[filter_of(*each) for each in chance.sample(conditions, chance.choice([0, 1, 1, 2]))],
    )
    if name.startswith("event_") and chance.random() < 0.95:
        query.labels["event"] = chance.choice(["viewed", "bought", "shared", "never"])
    if chance.random() < 0.05:
        query.group_property = "plan"
    return query


def alone(service: Service, query: MetricQuery) -> MetricResult:
    try:
        return MetricResult(series=service.metrics.ReadMetric(ReadMetricRequest(query=query)).series)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it is a Call as well
        assert status is not None
        return MetricResult(error=Status(code=status.code, message=status.message))


def together(service: Service, asked: list[MetricQuery]) -> list[MetricResult]:
    results = list(service.metrics.ReadMetrics(ReadMetricsRequest(queries=asked)).results)
    for place, result in enumerate(results):
        if result.HasField("error"):
            del result.error.details[:]  # say the same in other words
            result.error.message = result.error.message.replace(f"queries[{place}].", "query.")
    return results


def assert_alike(service: Service, seed: int) -> None:
    asked = queries(seed, 250)
    for query, result in zip(asked, together(service, asked), strict=True):
        assert result == alone(service, query), query


@pytest.fixture
def stored(by_hand: None, start_service: Callable[..., Service]) -> Service:
    service = start_service(reporting_time_zone=ZoneInfo("Europe/London"))
    send(service, sent_events(1, 700))
    return service


def test_series_are_the_same_together_and_alone(stored: Service) -> None:
    """From deltas and raw events, then from roll-ups, with the property registered for one event, for all."""
    assert_alike(stored, 1)
    fold(stored)
    for seed, event in ((2, "viewed"), (3, "")):
        register(stored, "plan", event)
        fill(stored)
        assert_alike(stored, seed)


@pytest.fixture
def cells(engine: sqlalchemy.Engine) -> CellStore:
    return CellStore(engine, ReportingCalendar(ZoneInfo("UTC")))


@contextmanager
def counted(engine: sqlalchemy.Engine) -> Iterator[list[sqlalchemy.Connection]]:
    """Tell the transactions that begin meanwhile."""
    begun: list[sqlalchemy.Connection] = []
    note = begun.append
    sqlalchemy.event.listen(engine, "begin", note)
    yield begun
    sqlalchemy.event.remove(engine, "begin", note)


def hour(events: tuple[str, ...], *values: str) -> Wanted:
    conditions = tuple(Condition(("plan",), Operator.EQUALS, (value,)) for value in values)
    return Wanted(((0, 3_600_000_000),), Selection(events=events, conditions=conditions))


def test_few_statements_answer_many_series(cells: CellStore, engine: sqlalchemy.Engine) -> None:
    wanted = [hour((f"event-{number}",)) for number in range(1_000)]
    wanted += [hour(("seen",), f"{number}") for number in range(60)]
    with counted(engine) as begun:
        assert sorted(place for place, _ in cells.read_each(wanted)) == list(range(1_060))
    assert len(begun) == 2


def test_what_fails_together_is_left_to_be_read_alone(cells: CellStore) -> None:
    """PostgreSQL knows no text with a NUL."""
    wanted = [hour(("seen",), "a"), hour(("seen",), "\0"), hour(("other",)), hour(("another",))]
    assert sorted(place for place, _ in cells.read_each(wanted)) == [2, 3]
    assert [cell.events for cell in cells.read_one(wanted[0])] == [0]


def test_an_error_names_the_place_of_its_query(service: Service) -> None:
    query = MetricQuery(name="event_count", interval=INTERVAL_DAY)
    [_, second] = service.metrics.ReadMetrics(ReadMetricsRequest(queries=[query, query])).results
    assert b"queries[1].time_range" in second.error.SerializeToString()
