"""Answers while deltas are being folded: base and deltas are read in one snapshot, or events show twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_events

NAMES = ["viewed", "bought", "returned", "searched", "shared"]
SPAN = TimeRange(start_time=Timestamp(seconds=1_312_000_000), end_time=Timestamp(seconds=1_322_000_000))
FEW_BYTES = 300  # a fold of one delta


def scanned(service: Service) -> list[bytes]:
    request = pb.ScanEventsRequest(events=NAMES, time_range=SPAN, with_value=True)
    return [chunk.SerializeToString(deterministic=True) for chunk in service.events.ScanEvents(request)]


QUESTIONS: dict[str, Callable[[Service], Message | list[bytes]]] = {
    "counts by hour": lambda service: service.events.CountEvents(
        pb.CountEventsRequest(time_range=SPAN, interval=INTERVAL_HOUR)
    ),
    "counts by event in a zone of half hours": lambda service: service.events.CountEvents(
        pb.CountEventsRequest(
            time_range=SPAN,
            interval=INTERVAL_DAY,
            time_zone="Asia/Kolkata",
            group_by=pb.COUNT_GROUP_EVENT,
            include_sessions=True,
        )
    ),
    "top events": lambda service: service.events.GetTopEvents(
        pb.GetTopEventsRequest(time_range=SPAN, with_users=True)
    ),
    "active users": lambda service: service.events.GetActiveUsers(
        pb.GetActiveUsersRequest(time_range=SPAN, period=pb.ACTIVE_PERIOD_WEEK)
    ),
    "revenue": lambda service: service.metrics.ReadMetric(
        ReadMetricRequest(query=MetricQuery(name="revenue", interval=INTERVAL_DAY, time_range=SPAN))
    ),
    "columns and revisions": scanned,
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.usefixtures("still")
def test_answers_do_not_change_while_deltas_are_folded(service: Service, question: str) -> None:
    ask = QUESTIONS[question]
    deltas = 40
    for first in range(0, deltas * 8, 8):
        service.events.TrackEvents(pb.TrackEventsRequest(events=made_events(range(first, first + 8))))
    before = ask(service)

    def fold_all() -> int:
        folds = 0
        while compact(service.engine, FEW_BYTES):
            folds += 1
        return folds

    with ThreadPoolExecutor(1) as pool:
        folding = pool.submit(fold_all)
        while not folding.done():
            assert ask(service) == before
    assert folding.result() == deltas
    assert ask(service) == before
