"""What the tab Alerts asks the services."""

import asyncio
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.metrics.v1 import metrics_pb2
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub

from gateway.dashboard.alerts import chart, table
from gateway.dashboard.page.answers import Failure

if TYPE_CHECKING:
    from collections.abc import Collection

    from brain.alerts.v1 import definition_pb2
    from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceAsyncStub

    from gateway.dashboard.alerts.words import Measure
    from gateway.dashboard.page.visits import Visit

SERVICE: Final = "alerts"
_PAGE: Final = 200
_HISTORY: Final = 20
_DELIVERIES: Final = 20
_METRICS: Final = 1_000


def stub(visit: "Visit") -> "AlertsServiceAsyncStub":
    """Return the stub of the alerts service."""
    return visit.surroundings.services.stub(SERVICE, AlertsServiceStub)


async def listed(visit: "Visit") -> pb.ListAlertsResponse | Failure:
    """List alerts with their latest windows."""
    asked = pb.ListAlertsRequest(page_size=_PAGE, recent_windows=table.RECENT)
    return await visit.questions.ask(SERVICE, stub(visit).ListAlerts, asked)


async def silences(visit: "Visit") -> pb.ListSilencesResponse | Failure:
    """List silences that are not over."""
    asked = pb.ListSilencesRequest(page_size=_PAGE, unexpired_only=True)
    return await visit.questions.ask(SERVICE, stub(visit).ListSilences, asked)


async def ready_made(visit: "Visit") -> pb.ListReadyMadeRulesResponse | Failure:
    """List ready-made rules."""
    asked = pb.ListReadyMadeRulesRequest()
    return await visit.questions.ask(SERVICE, stub(visit).ListReadyMadeRules, asked)


async def one(visit: "Visit", key: str) -> pb.GetAlertResponse | Failure:
    """Return an alert."""
    return await visit.questions.ask(SERVICE, stub(visit).GetAlert, pb.GetAlertRequest(alert_id=key))


async def deliveries(visit: "Visit", key: str) -> pb.ListDeliveriesResponse | Failure:
    """List what was told of an alert, newest first."""
    asked = pb.ListDeliveriesRequest(alert_id=key, page_size=_DELIVERIES)
    return await visit.questions.ask(SERVICE, stub(visit).ListDeliveries, asked)


async def past(
    visit: "Visit", definition: "definition_pb2.AlertDefinition", measure: "Measure"
) -> chart.Past | Failure:
    """Replay a rule over the page's days."""
    span = chart.time_range(definition.metric.interval, visit.scope)
    asked = pb.PreviewAlertRequest(definition=definition, time_range=span)
    found = await visit.questions.ask(SERVICE, stub(visit).PreviewAlert, asked)
    if isinstance(found, Failure):
        return found
    # Windows are units of the alert's own calendar.
    zone = ZoneInfo(definition.time_zone) if definition.time_zone else visit.surroundings.reporting_zone
    return chart.past(found, definition, measure, zone)


async def history(
    visit: "Visit", key: str, page_token: str = "", *, size: int = _HISTORY, changes_only: bool = False
) -> pb.ListAlertHistoryResponse | Failure:
    """List the looks at an alert, newest first."""
    asked = pb.ListAlertHistoryRequest(
        alert_id=key, page_size=size, page_token=page_token, changes_only=changes_only
    )
    return await visit.questions.ask(SERVICE, stub(visit).ListAlertHistory, asked)


async def units_of(visit: "Visit", sources: "Collection[str]") -> dict[tuple[str, str], str]:
    """Return the units of the metrics of these services; of one that is away, none."""
    known = [source for source in sorted(sources) if source in visit.surroundings.services.channels]
    answers = await asyncio.gather(*(_metrics(visit, source) for source in known))
    return {
        (source, each.name): each.unit
        for source, answer in zip(known, answers, strict=True)
        if not isinstance(answer, Failure)
        for each in answer.metrics
    }


async def _metrics(visit: "Visit", source: str) -> metrics_pb2.ListMetricsResponse | Failure:
    metrics = visit.surroundings.services.stub(source, MetricSourceServiceStub)
    asked = metrics_pb2.ListMetricsRequest(page_size=_METRICS)
    return await visit.questions.ask(source, metrics.ListMetrics, asked)
