"""The alerts of the demonstration, made in a real service."""

from collections.abc import Callable

from brain.alerts.v1 import alerts_pb2 as pb

from examples import shop_alerts
from shared.auth import Role, mint_token
from tests.services.alerts.asking import condition, reasons
from tests.services.alerts.conftest import Service
from tests.services.events.conftest import Service as EventsService


def test_they_are_made_once_tell_nobody_and_one_fires(
    start_service: Callable[..., Service], events: EventsService, token_keys: tuple[bytes, bytes]
) -> None:
    address = f"127.0.0.1:{events.application.server.port}"
    service = start_service(metric_sources={"events": address})
    token = mint_token(token_keys[0], "demo", [Role.ADMIN], None, 0)
    for _ in range(2):
        shop_alerts.demo(f"127.0.0.1:{service.application.server.port}", token)
    made = service.alerts.ListAlerts(pb.ListAlertsRequest()).alerts
    assert len(made) == 3
    assert not any(each.definition.channels for each in made)
    service.look()
    # Without any event the day before had no order.
    assert condition(service, "demo-no-order") == "FIRING"
    assert condition(service, "demo-many-returns") == "OK"
    assert reasons(service, "demo-revenue-falls") == ["TOO_FEW"]
