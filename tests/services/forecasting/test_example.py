"""The example of the demo against real services."""

from datetime import UTC, datetime, timedelta

import pytest

from examples import shop_forecast
from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAY, TODAY, event, track, weekly
from tests.services.forecasting.conftest import Service


def test_the_example_says_what_is_to_come(
    service: Service,
    events: EventsService,
    token_keys: tuple[bytes, bytes],
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = weekly(84)
    counts[-3] = 90
    first = TODAY - 84 * DAY
    track(
        events,
        [
            event("item_purchased", f"u-{number % 9}", first + at * DAY + number, 2.0, category="revenue")
            for at, count in enumerate(counts)
            for number in range(count)
        ],
    )
    token = mint_token(token_keys[0], "demo", [Role.ADMIN], None, clock.micros / 1e6)
    last = datetime.fromtimestamp(TODAY / 1e6, UTC) - timedelta(hours=3)
    shop_forecast.demo(f"127.0.0.1:{service.application.server.port}", token, last)
    shown = capsys.readouterr().out
    assert "Sat 2011-11-12" in shown
    assert "Days out of the ordinary in the last 90" in shown
    assert "Wed 2011-11-09: 180" in shown
    assert "Of 9 customers" in shown
