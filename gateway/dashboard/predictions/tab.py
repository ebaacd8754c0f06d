"""The tab Predictions."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from brain.metrics.v1 import metrics_pb2
from starlette.routing import BaseRoute, Route

from gateway.dashboard.overview import headline
from gateway.dashboard.page import top, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.frame import Notice
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from gateway.dashboard.predictions import anomalies, asking, customers, forecasts, predicted, readings
from shared.validation import Violations

if TYPE_CHECKING:
    from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2, predictions_pb2
    from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceAsyncStub
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit
    from gateway.dashboard.predictions.asking import Choice, Offered

_SERVICE: Final = "forecasting"
# Events that the lists of the tab offer.
_OFFERED: Final = 100


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the service said of the chosen metric, or why it did not."""

    forecast: "forecasts_pb2.ForecastMetricResponse | Failure"
    anomalies: "anomalies_pb2.DetectAnomaliesResponse | Failure"
    kept: "predictions_pb2.ListPredictionsResponse | Failure"
    scores: "predictions_pb2.GetPredictionAccuracyResponse | Failure"


@dataclass(frozen=True)
class PredictionsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the whole page but for the customers, who ask for themselves: their models take longer."""
        visit, asked = await self._chosen(request)
        above, (choice, offered) = await asyncio.gather(headline.read(visit), _settled(visit, asked))
        answers = await _asked(visit, choice)
        values = {
            "overview": above,
            "choice": choice,
            "offered": offered,
            "intervals": asking.INTERVALS,
            "horizons": asking.HORIZONS,
            "sensitivities": asking.SENSITIVITIES,
            "save_id": f"dashboard-{uuid4()}",
            "now": asking.as_of(visit.scope) is None,
            **_views(answers, visit, choice),
        }
        return visit.page("predictions.html", "predictions", asked.parameters(), values)

    async def customers(self, request: "Request") -> "Response":
        """Show the customers alone."""
        visit, asked = await self._chosen(request)
        most = await visit.questions.top(top.request(visit.scope, _OFFERED))
        events = [] if isinstance(most, Failure) else list(most.top_events)
        bought = asked.bought or asking.purchases(events)
        choice = asked.buying(bought)
        values: dict[str, object] = {
            "choice": choice,
            "events": dict.fromkeys([*filter(None, [bought]), *(one.event for one in events)]),
            "days": asking.CUSTOMER_DAYS,
            "trouble": most.text if isinstance(most, Failure) else "",
            "kept": asked.parameters(),
            "address": f"{visit.path.rpartition('/')[0]}",
        }
        if bought:
            values |= await _customers(visit, choice)
        return visit.part("customers.html", "predictions", values)

    async def file(self, request: "Request") -> "Response":
        """Return history and forecast as CSV."""
        visit, asked = await self._chosen(request)
        choice, _ = await _settled(visit, asked)
        found = answered(await _forecast(visit, choice))
        rows = forecasts.exported(found.forecast, visit.scope)
        return visits.file(f"forecast-{choice.metric}", forecasts.CSV_HEADER, rows)

    async def keep(self, request: "Request") -> "Response":
        """Keep a forecast, so that what comes can be set beside it."""
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        asked = asking.read(violations, request.query_params)
        violations.raise_if_any()
        choice, _ = await _settled(visit, asked)
        answer = await _forecast(visit, choice, fields.get("save_id", ""))
        if isinstance(answer, Failure):
            notice = Notice(answer.text, trouble=True)
        else:
            kept = answer.saved_predictions
            notice = Notice(f"{kept} predictions kept; each is scored once its period is over.")
        return visit.back("predictions", asked.parameters(), notice)

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        choice = asking.read(violations, request.query_params)
        violations.raise_if_any()
        return visit, choice


async def _settled(visit: "Visit", asked: "Choice") -> "tuple[Choice, Offered]":
    listed, most = await asyncio.gather(
        visit.questions.metrics(metrics_pb2.ListMetricsRequest(page_size=1_000)),
        visit.questions.top(top.request(visit.scope, _OFFERED)),
    )
    found = asking.offered(
        [] if isinstance(listed, Failure) else listed.metrics,
        [] if isinstance(most, Failure) else most.top_events,
    )
    return asking.settled(asked, found), found


async def _asked(visit: "Visit", choice: "Choice") -> _Answers:
    forecast, found, kept, scores = await asyncio.gather(
        _forecast(visit, choice), _anomalies(visit, choice), _kept(visit, choice), _scores(visit, choice)
    )
    return _Answers(forecast, found, kept, scores)


async def _forecast(
    visit: "Visit", choice: "Choice", save_id: str = ""
) -> "forecasts_pb2.ForecastMetricResponse | Failure":
    asked = asking.forecast(choice, visit.scope, save_id)
    return await visit.questions.ask(_SERVICE, _stub(visit).ForecastMetric, asked)


async def _anomalies(visit: "Visit", choice: "Choice") -> "anomalies_pb2.DetectAnomaliesResponse | Failure":
    asked = asking.anomalies(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).DetectAnomalies, asked)


async def _kept(visit: "Visit", choice: "Choice") -> "predictions_pb2.ListPredictionsResponse | Failure":
    asked = asking.kept(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).ListPredictions, asked)


async def _scores(
    visit: "Visit", choice: "Choice"
) -> "predictions_pb2.GetPredictionAccuracyResponse | Failure":
    asked = asking.accuracy(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).GetPredictionAccuracy, asked)


def _views(answers: _Answers, visit: "Visit", choice: "Choice") -> dict[str, object]:
    """Return what the template shows of the answers."""
    unit = "" if isinstance(answers.forecast, Failure) else answers.forecast.metric.unit
    reading = readings.Reading(choice, visit.scope, unit, visit.surroundings.currency)
    judged = None if isinstance(answers.anomalies, Failure) else answers.anomalies.found
    views: dict[str, object] = {
        "forecast": answers.forecast
        if isinstance(answers.forecast, Failure)
        else forecasts.shown(answers.forecast, reading, judged),
        "unusual": answers.anomalies
        if isinstance(answers.anomalies, Failure)
        else anomalies.unusual(answers.anomalies.found, reading),
    }
    if isinstance(answers.kept, Failure):
        views["predicted"] = answers.kept
    elif isinstance(answers.scores, Failure):
        views["predicted"] = answers.scores
    else:
        views["predicted"] = predicted.predicted(answers.kept, answers.scores, reading)
    return views


async def _customers(visit: "Visit", choice: "Choice") -> dict[str, object]:
    leaving, spending = await asyncio.gather(_churn(visit, choice), _value(visit, choice))
    days, zone, currency = choice.customer_days, visit.scope.zone, visit.surroundings.currency
    return {
        "churn": leaving if isinstance(leaving, Failure) else customers.churn(leaving, days, zone),
        "value": spending if isinstance(spending, Failure) else customers.value(spending, days, currency),
    }


async def _churn(visit: "Visit", choice: "Choice") -> "customers_pb2.PredictChurnResponse | Failure":
    asked = asking.churn(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).PredictChurn, asked)


async def _value(visit: "Visit", choice: "Choice") -> "customers_pb2.PredictLifetimeValueResponse | Failure":
    asked = asking.value(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).PredictLifetimeValue, asked)


def _stub(visit: "Visit") -> "ForecastingServiceAsyncStub":
    return visit.surroundings.services.stub(_SERVICE, ForecastingServiceStub)


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = PredictionsTab(signing)
    return [
        Route("/predictions", tab.show, methods=["GET"]),
        Route("/predictions/customers", tab.customers, methods=["GET"]),
        Route("/predictions/forecast.csv", tab.file, methods=["GET"]),
        Route("/predictions/keep", tab.keep, methods=["POST"]),
    ]


TAB: Final = Tab("predictions", "Predictions", _routes)
