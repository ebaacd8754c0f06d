"""Callers of every service but events: what each was told, to be compared with what is kept in the end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType
from typing import Self

import grpc
from brain.alerts.v1 import alerts_pb2, definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR
from brain.events.v1.events_pb2 import USER_KIND_USER, UserReference
from brain.experiments.v1 import experiments_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from brain.funnels.v1 import funnels_pb2
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub

from brain_client import explain
from shared.timestamps import from_micros
from tests.faults.made_events import SPAN_MICROS, START_MICROS

EXPERIMENT, FUNNEL = "button", "sign-up"
PEOPLE = 300
SECOND = 1_000_000


@dataclass
class Caller:
    """Repeats a round in a thread of its own while it is entered, which it may be more than once."""

    name: str
    round: Callable[[int], None]
    pause_seconds: float
    rounds: int = 0
    longest_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    _stopping: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def __enter__(self) -> Self:
        self._stopping.clear()
        self._thread = Thread(target=self._run, name=self.name)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self.round(self.rounds)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test says so
                told = explain(error) if isinstance(error, grpc.RpcError) else repr(error)
                self.failures.append(f"{self.name}, round {self.rounds}: {told}")
            self.rounds += 1
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            self._stopping.wait(self.pause_seconds)


class Experiment:
    """People who are given variants again and again, and convert once a round."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.variants: dict[str, set[str]] = defaultdict(set)
        self.conversions: set[str] = set()
        self.stub = ExperimentsServiceStub(channel)
        definition = experiments_pb2.ExperimentDefinition(
            name="Button",
            variants=[experiments_pb2.Variant(name=each, allocation_percent=50) for each in ("blue", "red")],
            metrics=[experiments_pb2.Metric(name="buys", kind=experiments_pb2.METRIC_KIND_CONVERSION)],
        )
        request = experiments_pb2.CreateExperimentRequest(key=EXPERIMENT, definition=definition)
        self.stub.CreateExperiment(request)
        self.stub.StartExperiment(experiments_pb2.StartExperimentRequest(experiment_key=EXPERIMENT))

    def round(self, stub: ExperimentsServiceStub, caller: str, number: int) -> None:
        """Take part, and buy something."""
        person = experiments_pb2.Person(user_id=f"person {number % PEOPLE}")
        request = experiments_pb2.AssignVariantRequest(experiment_key=EXPERIMENT, person=person)
        self.variants[person.user_id].add(stub.AssignVariant(request).assignment.variant)
        conversion = experiments_pb2.Conversion(
            conversion_id=f"{caller} {number}", experiment_key=EXPERIMENT, person=person
        )
        stub.TrackConversion(experiments_pb2.TrackConversionRequest(conversion=conversion))
        self.conversions.add(conversion.conversion_id)

    def counted(self) -> tuple[int, int]:
        """Return participants and conversions, as the results say."""
        request = experiments_pb2.GetResultsRequest(experiment_key=EXPERIMENT)
        results = self.stub.GetResults(request).results
        return results.participants, sum(each.conversions for each in results.metrics[0].variants)


class Funnel:
    """People who begin to sign up, one a second by their clocks; every second one finishes."""

    def __init__(self, channel: grpc.Channel, looked_at_micros: int = SPAN_MICROS) -> None:
        """Of the first `looked_at_micros` of all is asked while it goes on."""
        self.done: Counter[int] = Counter()
        self._looked_at_micros = looked_at_micros
        self._stub = FunnelsServiceStub(channel)
        steps = [
            funnels_pb2.FunnelStep(name=each, event=each, order=order)
            for order, each in enumerate(("began", "finished"))
        ]
        request = funnels_pb2.CreateFunnelRequest(funnel_id=FUNNEL, name="Sign-up", steps=steps)
        self._stub.CreateFunnel(request)

    def round(self, number: int) -> None:
        """Do the steps of one person; look at the funnel now and then."""
        for step in range(1 + number % 2):
            record = funnels_pb2.StepRecord(
                funnel_id=FUNNEL,
                step=step,
                user=UserReference(kind=USER_KIND_USER, id=f"visitor {number}"),
                step_time=from_micros(START_MICROS + (number + step) * SECOND),
            )
            self._stub.TrackFunnelStep(funnels_pb2.TrackFunnelStepRequest(step=record))
            self.done[step] += 1
        if number % 10 == 0:
            self.reached(self._looked_at_micros)

    def reached(self, span_micros: int = SPAN_MICROS) -> list[int]:
        """Return how many people came to each step, as the results say of the first so many µs."""
        request = funnels_pb2.GetFunnelResultsRequest(funnel_id=FUNNEL)
        request.time_range.start_time.CopyFrom(from_micros(START_MICROS))
        request.time_range.end_time.CopyFrom(from_micros(START_MICROS + span_micros))
        return [step.users for step in self._stub.GetFunnelResults(request).results.steps]


class Forecasts:
    """Somebody who asks what is to come of events that are stored meanwhile."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ForecastingServiceStub(channel)

    def round(self, _number: int) -> None:
        """Forecast a week."""
        reference = forecasts_pb2.MetricReference(
            source="events", name="event_count", labels={"event": "viewed"}, interval=INTERVAL_DAY
        )
        options = forecasts_pb2.MetricForecastOptions(
            options=forecasts_pb2.ForecastOptions(horizon=7),
            as_of_time=from_micros(START_MICROS + SPAN_MICROS),
        )
        self._stub.ForecastMetric(forecasts_pb2.ForecastMetricRequest(metric=reference, options=options))


class Alerts:
    """Alerts that fire as soon as they are judged: of an hour in which nothing happens."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.made: set[str] = set()
        self._stub = AlertsServiceStub(channel)

    def round(self, number: int) -> None:
        """Make one more, and list them."""
        definition = definition_pb2.AlertDefinition(
            name=f"Silence {number}",
            metric=definition_pb2.MetricReference(
                source="events", name="event_count", labels={"event": "viewed"}, interval=INTERVAL_HOUR
            ),
            condition=definition_pb2.ALERT_CONDITION_LESS_THAN,
            threshold=1,
        )
        request = alerts_pb2.CreateAlertRequest(alert_id=f"silence-{number}", definition=definition)
        self.made.add(self._stub.CreateAlert(request).alert.alert_id)
        self._stub.ListAlerts(alerts_pb2.ListAlertsRequest())
