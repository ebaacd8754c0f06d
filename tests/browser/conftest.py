"""A browser before the dashboard of the shop's year."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from examples.online_retail import LINES
from services.events.rollups.compaction import compact
from shared.auth import Role, mint_token
from tests import databases
from tests.browser import driving
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service
from tests.services.events.shop.conftest import BATCH, NOW, Starter, send, serialized, start_shop

__all__ = ["start_shop"]


@pytest.fixture(scope="session")
def shop_service(start_shop: Starter, events_template: str) -> Iterator[Service]:
    """The shop's year, imported once and folded."""
    with databases.clone(start_shop.postgres, events_template) as name, start_shop.service(name) as service:
        assert sum(reply.accepted for reply in send(service, serialized(BATCH))) == LINES
        while compact(service.engine):
            pass
        yield service


@pytest.fixture(scope="session")
def shop_site(shop_service: Service, start_shop: Starter, token_keys: tuple[bytes, bytes]) -> Iterator[Site]:
    now = NOW.micros / 1e6
    token = mint_token(token_keys[0], "ada", [Role.ADMIN], None, now)
    port = shop_service.application.server.port
    with gateway(port, start_shop.public_key_file, lambda: now, currency="GBP") as origin:
        yield Site(origin, token)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Complaints of the browser fail the test."""
    with driving.chromium(tmp_path / "profile") as driver:
        driving.resize(driver, 1280, 900)
        yield driver
        assert driving.complaints(driver) == []


@pytest.fixture
def screenshots() -> Path:
    """Where pictures of this run are kept to be looked at."""
    directory = Path(__file__).parents[2] / ".brain" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
