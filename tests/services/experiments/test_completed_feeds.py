"""What events feed ends with the experiment, as what is tracked does."""

import pytest
from brain.experiments.v1 import experiments_pb2 as pb

from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.experiments.asking import assign_all, complete, create, definition, results, start
from tests.services.experiments.conftest import Service
from tests.services.experiments.test_feeds import BOUGHT, FED, HOUR, bought, events, service, track

__all__ = ["events", "service"]  # fixtures


def test_events_after_the_completion_do_not_count(
    service: Service, events: EventsService, clock: Clock
) -> None:
    cut = pb.Metric(name="cut", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT, winsorized_quantile=0.9999)
    metrics = [FED[1], FED[3], cut]
    create(service, what=definition(metrics=metrics, break_down_attributes=["plan"]))
    start(service)
    assign_all(service, ["ann", "bob"])
    track(events, bought(1, "ann", clock.micros, value=2))
    clock.micros += HOUR
    before = results(service)
    assert sum(each.total_value for each in before.metrics[0].variants) == 2
    complete(service)
    track(events, bought(2, "ann", clock.micros, value=3), bought(3, "bob", clock.micros - 1, value=4))
    asked = pb.GetResultsRequest(experiment_key="colour", break_down_attribute="plan")
    answer = service.experiments.GetResults(asked)
    [segment] = answer.segments
    for found in (answer.results, segment.results):
        assert [sum(each.total_value for each in one.variants) for one in found.metrics] == [6, 0, 6]
        by_person = [
            each.value * each.participants for each in found.metrics[2].variants if each.participants
        ]
        assert sum(by_person) == pytest.approx(6)
    clock.micros += 24 * HOUR
    for metric in ("revenue", "cut"):
        request = pb.GetResultsOverTimeRequest(experiment_key="colour", metric=metric)
        last = service.experiments.GetResultsOverTime(request).points[-1]
        assert sum(each.total_value for each in last.variants) == 6
