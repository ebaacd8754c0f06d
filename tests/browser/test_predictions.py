"""The tab Predictions in a real browser, over the shop's year: drawn, chosen, kept, phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from shared.auth import Role, mint_token
from tests.browser import driving
from tests.browser.driving import until_text
from tests.browser.test_dashboard import press, sign_in
from tests.clock import Clock
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.events.shop.conftest import NOW, Starter
from tests.services.forecasting.conftest import Service, running

pytestmark = pytest.mark.peers


@pytest.fixture
def forecasting(
    shop_service: EventsService,
    start_shop: Starter,
    forecasting_database: str,
    token_keys: tuple[bytes, bytes],
    tmp_path: Path,
) -> Iterator[Service]:
    token_file = tmp_path / "sources.token"
    token_file.write_text(mint_token(token_keys[0], "forecasting", [Role.ANALYST], None, NOW.micros / 1e6))
    sources = {"events": f"127.0.0.1:{shop_service.application.server.port}"}
    with running(
        forecasting_database,
        Clock(NOW.micros),
        token_keys[0],
        start_shop.public_key_file,
        metric_sources=sources,
        sources_token_file=token_file,
    ) as service:
        yield service


@pytest.fixture
def site(
    shop_service: EventsService, forecasting: Service, start_shop: Starter, token_keys: tuple[bytes, bytes]
) -> Iterator[Site]:
    now = NOW.micros / 1e6
    token = mint_token(token_keys[0], "ada", [Role.ADMIN], None, now)
    port = shop_service.application.server.port
    settings: dict[str, Any] = {
        "currency": "GBP",
        "call_seconds": 20,
        "forecasting_address": f"127.0.0.1:{forecasting.application.server.port}",
    }
    with gateway(port, start_shop.public_key_file, lambda: now, **settings) as origin:
        yield Site(origin, token)


def test_the_year_is_forecast_and_its_oddities_marked(site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, site, "events?range=90d")
    driving.resize(browser, 1280, 3000)
    press(browser, "4")
    until_text(browser, "expected in 30 days")
    until_text(browser, "customers are expected to buy nothing within 90 days")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".plot .band")) == 2
    assert browser.find_elements(By.CSS_SELECTOR, ".spark .mark")
    until_text(browser, "would be ordinary")
    marks = browser.find_elements(By.CSS_SELECTOR, ".plot .mark")
    assert len(marks) >= 1
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"predictions_{scheme}.png")
        assert driving.serious_barriers(browser) == []
    driving.prefer(browser, "light")
    driving.resize(browser, 390, 4600)
    browser.save_screenshot(screenshots / "predictions_phone.png")
    width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(width)


def test_a_metric_is_chosen_and_its_forecast_kept_after_asking(
    site: Site, browser: Chrome, screenshots: Path
) -> None:
    sign_in(browser, site, "predictions?range=90d")
    until_text(browser, "expected in 30 days")
    Select(browser.find_element(By.ID, "metric")).select_by_visible_text("event_count")
    until_text(browser, "for")
    driving.until(browser, "return document.getElementById('event') !== null")
    Select(browser.find_element(By.ID, "event")).select_by_visible_text("item_returned")
    until_text(browser, "customers are expected to buy nothing within 90 days")
    assert "event=item_returned" in browser.current_url
    browser.find_element(By.XPATH, "//button[text()='Keep']").click()
    until_text(browser, "Keep this forecast?")
    browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
    until_text(browser, "30 predictions kept")
    until_text(browser, "customers are expected to buy nothing within 90 days")
    Select(browser.find_element(By.ID, "days")).select_by_value("30")
    until_text(browser, "customers are expected to buy nothing within 30 days")
    assert "event=item_returned" in browser.current_url
    browser.save_screenshot(screenshots / "predictions_chosen.png")
