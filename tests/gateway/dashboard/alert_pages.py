"""What tests of the tab Alerts watch, press and read."""

import httpx
from brain.alerts.v1 import definition_pb2
from brain.common.v1 import common_pb2

from gateway.dashboard.page.frame import PREFIX
from tests.gateway.dashboard.serving import proof_of
from tests.services.alerts.asking import create
from tests.services.alerts.conftest import Service

TAB = f"{PREFIX}/alerts"
# Yesterday thirty people visited, on every other day ten (conftest.history).
VISITS = definition_pb2.MetricReference(
    source="events", name="event_count", labels={"event": "visited"}, interval=common_pb2.INTERVAL_DAY
)


def watch(service: Service, alert_id: str = "visits", **changes: object) -> None:
    """Fires where a day has more than twenty visits."""
    create(service, alert_id, **{"name": "Visits", "metric": VISITS, "threshold": 20.0, **changes})


def row(page: str, text: str) -> str:
    """The first row of a table that says so."""
    return next(part for part in page.split("<tr")[1:] if text in part).partition("</tr>")[0]


def act(visitor: httpx.Client, action: str, **fields: str) -> str:
    page = visitor.get(f"{TAB}?key=visits").text
    done = visitor.post(f"{TAB}/{action}", data={"proof": proof_of(page), **fields})
    assert done.status_code == 303
    return visitor.get(done.headers["location"]).text
