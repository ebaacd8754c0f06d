"""Days on which the metrics of the cards were out of the ordinary, as the forecasting service judges them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.forecasting.v1 import anomalies_pb2 as pb
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub

from gateway.dashboard.page import formats, scope
from gateway.dashboard.page.answers import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dashboard.page.scope import Scope
    from gateway.dashboard.page.visits import Visit

_SERVICE: Final = "forecasting"
# The cards are not kept waiting for their dots any longer.
_MOST_SECONDS: Final = 2.0
_NOT_CONNECTED: Final = 501


@dataclass(frozen=True, slots=True)
class UnusualDays:
    """The days by metric; and why there are none to tell of, where the service failed."""

    days: Mapping[str, Mapping[date, pb.JudgedPoint]] = field(default_factory=dict)
    trouble: str = ""

    def of(self, metric: str) -> Mapping[date, pb.JudgedPoint]:
        """Return the days of a metric."""
        return self.days.get(metric, {})


async def read(visit: "Visit", metrics: "Sequence[str]", least_days: int) -> UnusualDays:
    """Ask about the days shown, at least so many; nothing is told where the service is not connected."""
    questions = [_asked(visit, request(metric, visit.scope, least_days)) for metric in metrics]
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            answers = await asyncio.gather(*questions)
    except TimeoutError:
        return UnusualDays(trouble="The forecasting service takes too long.")
    return judged(metrics, answers, visit.scope)


async def _asked(visit: "Visit", question: pb.DetectAnomaliesRequest) -> pb.DetectAnomaliesResponse | Failure:
    stub = visit.surroundings.services.stub(_SERVICE, ForecastingServiceStub)
    return await visit.questions.ask(_SERVICE, stub.DetectAnomalies, question)


def request(metric: str, shown: "Scope", least_days: int) -> pb.DetectAnomaliesRequest:
    """Return the question about one metric."""
    first = shown.last - timedelta(days=max(shown.days, least_days) - 1)
    return pb.DetectAnomaliesRequest(
        metric=forecasts_pb2.MetricReference(
            name=metric, interval=common_pb2.INTERVAL_DAY, time_zone=shown.zone.key
        ),
        time_range=scope.days_range(first, shown.last, shown.zone),
    )


def judged(
    metrics: "Sequence[str]", answers: "Sequence[pb.DetectAnomaliesResponse | Failure]", shown: "Scope"
) -> UnusualDays:
    """Sort the answers by metric. A metric without history enough is no trouble: it has no days."""
    days: dict[str, dict[date, pb.JudgedPoint]] = {}
    trouble = ""
    for metric, answer in zip(metrics, answers, strict=True):
        if not isinstance(answer, Failure):
            days[metric] = {
                formats.date_of(point.start_time, shown.zone): point
                for point in answer.found.points
                if point.anomalous
            }
        elif answer.code >= 500 and answer.code != _NOT_CONNECTED:  # noqa: PLR2004 - HTTP's faults of servers
            trouble = answer.text
    return UnusualDays(days, trouble)
