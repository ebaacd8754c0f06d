"""The tab Alerts in a real browser, over the shop's year and the alerts of the demonstration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from examples import shop_alerts
from shared.auth import Role, mint_token
from tests.browser import driving
from tests.browser.driving import until_text
from tests.browser.test_dashboard import press, sign_in
from tests.clock import Clock
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.alerts.conftest import HOUR, Service, running
from tests.services.alerts.receivers import http_receiver
from tests.services.events.conftest import Service as EventsService
from tests.services.events.shop.conftest import NOW, Starter

pytestmark = pytest.mark.peers
DAYS_WATCHED = 60


@pytest.fixture
def alerts(
    shop_service: EventsService,
    start_shop: Starter,
    alerts_database: str,
    token_keys: tuple[bytes, bytes],
    tmp_path: Path,
) -> Iterator[Service]:
    """What the demonstration makes, and what came of sixty days of looking."""
    token_file = tmp_path / "alerts.token"
    token_file.write_text(mint_token(token_keys[0], "alerts", [Role.ANALYST], None, 0))
    clock = Clock(NOW.micros - DAYS_WATCHED * 24 * HOUR)
    with running(
        alerts_database,
        clock,
        token_keys[0],
        start_shop.public_key_file,
        metric_sources={"events": f"127.0.0.1:{shop_service.application.server.port}"},
        sources_token_file=token_file,
    ) as service:
        shop_alerts.demo(
            f"127.0.0.1:{service.application.server.port}",
            mint_token(token_keys[0], "ada", [Role.ADMIN], None, 0),
        )
        for _ in range(DAYS_WATCHED):
            clock.micros += 24 * HOUR
            service.look()
        yield service


@pytest.fixture
def site(
    shop_service: EventsService, alerts: Service, start_shop: Starter, token_keys: tuple[bytes, bytes]
) -> Iterator[Site]:
    now = NOW.micros / 1e6
    token = mint_token(token_keys[0], "ada", [Role.ADMIN], None, now)
    with gateway(
        shop_service.application.server.port,
        start_shop.public_key_file,
        lambda: now,
        currency="GBP",
        alerts_address=f"127.0.0.1:{alerts.application.server.port}",
    ) as origin:
        yield Site(origin, token)


def test_what_fires_is_drawn(site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, site, "events?range=90d")
    driving.resize(browser, 1280, 2300)
    place = len(browser.find_elements(By.CSS_SELECTOR, ".tabs a"))
    press(browser, str(place))
    until_text(browser, "1 of 3 fires.")
    # After the data's last day, a Friday, nobody ordered.
    until_text(browser, "Fires when sessions of a day is below 1")
    assert len(browser.find_elements(By.CSS_SELECTOR, "td .spark")) == 3
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"alerts_{scheme}.png")
    assert driving.serious_barriers(browser) == []
    driving.prefer(browser, "light")
    browser.find_element(By.PARTIAL_LINK_TEXT, "Revenue falls").click()
    until_text(browser, "falls by more than 30.0 % against the week before")
    browser.save_screenshot(screenshots / "alerts_change.png")
    driving.resize(browser, 390, 2600)
    browser.save_screenshot(screenshots / "alerts_phone.png")
    width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(width)


def test_an_alert_is_made_of_a_rule_tried_and_silenced(
    site: Site, browser: Chrome, screenshots: Path
) -> None:
    sign_in(browser, site, "alerts?range=90d")
    browser.find_element(By.LINK_TEXT, "error-spike").click()
    until_text(browser, "Fill in event to see when it would have fired.")
    browser.find_element(By.NAME, "label.event").send_keys("item_returned")
    browser.find_element(By.XPATH, "//button[text()='Try']").click()
    until_text(browser, "Fires when event_count (event item_returned) of an hour rises by more than 200 %")
    driving.resize(browser, 1280, 3000)
    browser.save_screenshot(screenshots / "alerts_rule.png")
    with http_receiver() as receiver:
        browser.find_element(By.CSS_SELECTOR, "select[name=channel] option:nth-child(4)").click()
        browser.find_element(By.NAME, "recipients").send_keys(receiver.url)
        browser.find_element(By.XPATH, "//button[text()='Create']").click()
        until_text(browser, "error-spike is watched.")
        browser.find_element(By.XPATH, "//button[text()='Test']").click()
        until_text(browser, "Send a test to every recipient now?")
        browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
        until_text(browser, "accepted it")
    browser.find_element(By.NAME, "comment").send_keys("we are moving")
    browser.find_element(By.XPATH, "//button[text()='Silence']").click()
    until_text(browser, "Silence this alert?")
    browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
    until_text(browser, "error-spike is silent for 1 hour.")
    until_text(browser, "we are moving")
    browser.save_screenshot(screenshots / "alerts_silenced.png")
