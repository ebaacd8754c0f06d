"""Callers of the four services behind events: alerts that tell, funnels and forecasts of what happened."""

from typing import TYPE_CHECKING

import grpc
from brain.alerts.v1 import alerts_pb2, definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, TimeRange
from brain.experiments.v1 import experiments_pb2, statistics_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.experiments.v1.statistics_pb2_grpc import StatisticsServiceStub
from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from brain.funnels.v1 import funnels_pb2
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub

from benchmarks.soak.events_load import ASKED, ASKED_MICROS, asked_range
from shared.calendar import MICROS
from shared.timestamps import from_micros
from tests.faults.callers import EXPERIMENT, FUNNEL
from tests.faults.made_events import START_MICROS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Of the steps that are recorded, these are looked at: there before long, and then no more of them.
STEPS_MICROS = 500 * MICROS
ALERTS_KEPT = 20  # each is deleted so many rounds after it was made


class TellingAlerts:
    """Alerts that fire at once and tell a receiver."""

    def __init__(self, channel: grpc.Channel, receiver: str) -> None:
        self.made = 0
        self._stub = AlertsServiceStub(channel)
        self._receiver = receiver

    def round(self, number: int) -> None:
        """Make one, delete an old one, and look at them."""
        definition = definition_pb2.AlertDefinition(
            name=f"Silence {number}",
            metric=definition_pb2.MetricReference(
                source="events", name="event_count", labels={"event": ASKED[0]}, interval=INTERVAL_HOUR
            ),
            condition=definition_pb2.ALERT_CONDITION_LESS_THAN,
            threshold=1,
            channels=[
                definition_pb2.Channel(
                    kind=definition_pb2.CHANNEL_KIND_WEBHOOK, recipients=[f"{self._receiver}/{number}"]
                )
            ],
        )
        self._stub.CreateAlert(
            alerts_pb2.CreateAlertRequest(alert_id=f"silence-{number}", definition=definition)
        )
        self.made += 1
        if number >= ALERTS_KEPT:
            old = f"silence-{number - ALERTS_KEPT}"
            self._stub.ListAlertHistory(alerts_pb2.ListAlertHistoryRequest(alert_id=old))
            self._stub.DeleteAlert(alerts_pb2.DeleteAlertRequest(alert_id=old))
        self._stub.ListAlerts(alerts_pb2.ListAlertsRequest())


class Analyses:
    """Questions to funnels, experiments and forecasting, one kind a round."""

    def __init__(self, funnels: grpc.Channel, experiments: grpc.Channel, forecasting: grpc.Channel) -> None:
        self._funnels = FunnelsServiceStub(funnels)
        self._experiments = ExperimentsServiceStub(experiments)
        self._statistics = StatisticsServiceStub(experiments)
        self._forecasting = ForecastingServiceStub(forecasting)
        self._kinds: Sequence[Callable[[], object]] = (
            self._analyze,
            lambda: self._experiments.GetResults(
                experiments_pb2.GetResultsRequest(experiment_key=EXPERIMENT)
            ),
            self._forecast,
            lambda: self._funnels.GetDropoffAnalysis(
                funnels_pb2.GetDropoffAnalysisRequest(funnel_id=FUNNEL, time_range=_steps_range())
            ),
            self._anomalies,
            self._compare,
            self._churn,
        )

    def round(self, number: int) -> None:
        """Ask the next."""
        self._kinds[number % len(self._kinds)]()

    def _analyze(self) -> None:
        steps = [
            funnels_pb2.FunnelStep(name=name, event=name, order=order) for order, name in enumerate(ASKED)
        ]
        self._funnels.AnalyzeFunnel(
            funnels_pb2.AnalyzeFunnelRequest(
                steps=steps, time_window_minutes=10_080, time_range=asked_range()
            )
        )

    def _metric(self) -> forecasts_pb2.MetricReference:
        return forecasts_pb2.MetricReference(
            source="events", name="event_count", labels={"event": ASKED[0]}, interval=INTERVAL_DAY
        )

    def _forecast(self) -> None:
        options = forecasts_pb2.MetricForecastOptions(
            options=forecasts_pb2.ForecastOptions(horizon=7),
            as_of_time=from_micros(START_MICROS),
        )
        request = forecasts_pb2.ForecastMetricRequest(metric=self._metric(), options=options)
        self._forecasting.ForecastMetric(request)

    def _anomalies(self) -> None:
        request = anomalies_pb2.DetectAnomaliesRequest(metric=self._metric(), time_range=asked_range())
        self._forecasting.DetectAnomalies(request)

    def _churn(self) -> None:
        purchases = customers_pb2.PurchaseHistory(
            events=[ASKED[2]],
            start_time=from_micros(ASKED_MICROS),
            as_of_time=from_micros(START_MICROS),
        )
        request = customers_pb2.PredictChurnRequest(purchases=purchases, horizon_days=30, page_size=10)
        self._forecasting.PredictChurn(request)

    def _compare(self) -> None:
        control, treatment = (
            statistics_pb2.Proportion(participants=1_000, converted=each) for each in (100, 130)
        )
        self._statistics.CompareProportions(
            statistics_pb2.CompareProportionsRequest(control=control, treatment=treatment)
        )


def _steps_range() -> TimeRange:
    """Return the range of the steps that are looked at."""
    return TimeRange(start_time=from_micros(START_MICROS), end_time=from_micros(START_MICROS + STEPS_MICROS))
