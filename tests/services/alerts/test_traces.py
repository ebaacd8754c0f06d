"""A look at alerts in the background is a trace with the reading of their metrics in it."""

from collections.abc import Callable, Iterator

import pytest

from tests.clock import Clock
from tests.collector import Collector, collecting
from tests.services.alerts.asking import create
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.scripted_source import Script
from tests.waiting import until

READ = "brain.metrics.v1.MetricSourceService/ReadMetrics"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def test_a_look_is_a_trace_with_what_was_read_for_it(
    collector: Collector, start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    service = start_service(traces_address=collector.address)
    create(service)
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.application.work()
    until(lambda: any(span.name == READ for span in collector.spans))
    service.application.stop()
    looks = [span for span in collector.spans if span.name == "judging events"]
    reads = [span for span in collector.spans if span.name == READ]
    assert {(look.service, look.kind, look.parent_id, look.failed) for look in looks} == {
        ("alerts", "INTERNAL", "", False)
    }
    assert {read.parent_id for read in reads} == {look.span_id for look in looks}, "no look without reading"
