"""The commands of `brain forecast` against real services."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from brain_client.cli import main
from services.forecasting.models.forecast import VERSION
from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAY, TODAY, event, sell, shopping, track, weekly
from tests.services.forecasting.conftest import Service


@pytest.fixture
def brain(service: Service, token_keys: tuple[bytes, bytes], clock: Clock) -> Callable[..., str]:
    token = mint_token(token_keys[0], "cli", [Role.ADMIN], None, clock.micros / 1e6)
    address = f"127.0.0.1:{service.application.server.port}"

    def run(*arguments: str) -> str:
        base = ["--token", token, "forecast", "--forecasting-address", address]
        result = CliRunner().invoke(main, [*base, *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_forecasts_and_anomalies_are_shown(
    brain: Callable[..., str], events: EventsService, service: Service, clock: Clock
) -> None:
    counts = weekly(84)
    counts[-3] = 90
    sell(events, counts)
    shown = brain("revenue", "--horizon", "7", "--save", "week")
    assert "2011-11-12" in shown
    assert "Back-test" in shown
    demand = json.loads(brain("metric", "event_count", "--label", "event=sold", "--horizon", "3", "--json"))
    assert len(demand["points"]) == 3
    found = brain("anomalies", "event_count", "--label", "event=sold")
    assert "2011-11-09" in found
    assert "alerts a month" in found
    assert "7 wait for what comes." in brain("accuracy")
    clock.micros = TODAY + 3 * DAY
    service.application.actuals.step()
    told = json.loads(brain("accuracy", "--json"))
    assert [each["interval"] for each in told["accuracies"]] == ["INTERVAL_DAY"]
    [row] = [line for line in brain("accuracy").splitlines() if VERSION in line]
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["revenue", "revenue", "day"]


def test_customers_are_shown(brain: Callable[..., str], events: EventsService) -> None:
    track(events, [event("sold", who, TODAY - before * DAY, amount) for who, before, amount in shopping()])
    assert "of 60 are expected to leave" in brain("churn", "sold", "--days", "30")
    assert "60 customers are expected to spend" in brain("value", "sold", "--days", "30")
