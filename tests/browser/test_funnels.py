"""The tab Funnels in a real browser: drawn, clicked through to one person, made, deactivated; phone, dark."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from shared.auth import Role, mint_token
from tests.browser import driving
from tests.browser.driving import until_text
from tests.browser.test_dashboard import press, sign_in
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import running as running_events
from tests.services.funnels.asking import steps
from tests.services.funnels.conftest import Service, running

pytestmark = pytest.mark.peers

STEPS = ("product_viewed", "put_in_basket", "checkout_started", "address_entered", "order_placed")
ODDS = {"android": (0.68, 0.8, 0.85, 0.25), "ios": (0.7, 0.8, 0.85, 0.8), "web": (0.66, 0.8, 0.85, 0.8)}
PEOPLE = 1_500


def happened() -> Iterator[events_pb2.Event]:
    """On Android few orders go through."""
    generator = random.Random(11)
    for number in range(PEOPLE):
        platform = generator.choice(list(ODDS))
        moment = NOW - timedelta(days=7) + timedelta(seconds=generator.randrange(6 * 86_400))
        for place, name in enumerate(STEPS):
            made = events_pb2.Event(
                event=name, event_id=f"{name}-{number}", user_id=f"user-{number}", session_id=f"s-{number}"
            )
            made.event_time.FromDatetime(moment.replace(tzinfo=None))
            made.properties.update({"platform": platform})
            yield made
            if place == len(ODDS[platform]) or generator.random() > ODDS[platform][place]:
                break
            moment += timedelta(seconds=round(generator.lognormvariate(4.5 + place / 2, 0.9)))


@pytest.fixture
def funnels(
    events_database: str, funnels_database: str, token_keys: tuple[bytes, bytes], tmp_path: Path
) -> Iterator[Service]:
    key_file = tmp_path / "public.pem"
    key_file.write_bytes(token_keys[1])
    now = Clock(int(NOW.timestamp() * 1e6))
    with (
        running_events(events_database, Clock(), token_keys[0], key_file) as events,
        running(funnels_database, events, token_keys, tmp_path, clock=now) as service,
    ):
        made = list(happened())
        assert not events.events.TrackEvents(events_pb2.TrackEventsRequest(events=made)).rejections
        yield service


@pytest.fixture
def site(funnels: Service, token_keys: tuple[bytes, bytes], tmp_path: Path) -> Iterator[Site]:
    token = mint_token(token_keys[0], "ada", [Role.ADMIN], None, NOW.timestamp())
    port = funnels.events.application.server.port
    address = f"127.0.0.1:{funnels.application.server.port}"
    with gateway(port, tmp_path / "public.pem", NOW.timestamp, funnels_address=address) as origin:
        yield Site(origin, token)


def make(service: Service) -> None:
    asked = pb.CreateFunnelRequest(
        funnel_id="checkout", name="Checkout", steps=steps(STEPS), time_window_minutes=1_440
    )
    service.funnels.CreateFunnel(asked)


def fits(browser: Chrome) -> bool:
    width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    return bool(browser.execute_script(width))


def test_losses_are_drawn_and_lead_to_people(
    site: Site, browser: Chrome, funnels: Service, screenshots: Path
) -> None:
    make(funnels)
    sign_in(browser, site, "events?range=7d&compare=1")
    driving.resize(browser, 1280, 1700)
    press(browser, "3")
    until_text(browser, "Everybody once, by one attempt: in order, within 1 d.")
    until_text(browser, "most people lost")
    by = browser.find_element(By.ID, "by-property")
    by.send_keys("platform", Keys.ENTER)
    until_text(browser, "Before order_placed where platform = android")
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"funnels_{scheme}.png")
        assert driving.serious_barriers(browser) == []
    driving.prefer(browser, "light")
    browser.find_element(By.CSS_SELECTOR, "[aria-label$='lost before order_placed']").click()
    until_text(browser, "people lost before order_placed")
    browser.find_element(By.XPATH, "//button[text()='Next page']").click()
    driving.until(browser, "return location.search.includes('page=')")
    browser.find_element(By.CSS_SELECTOR, "#people tbody a").click()
    until_text(browser, "No other attempt comes further.")
    driving.resize(browser, 1280, 3400)
    browser.save_screenshot(screenshots / "funnels_people.png")
    assert driving.serious_barriers(browser) == []
    driving.resize(browser, 390, 3600)
    browser.save_screenshot(screenshots / "funnels_phone.png")
    assert fits(browser)


def test_a_funnel_is_made_from_the_page_and_deactivated_after_asking(
    site: Site, browser: Chrome, funnels: Service, screenshots: Path
) -> None:
    sign_in(browser, site, "funnels?range=7d")
    driving.resize(browser, 1280, 1100)
    until_text(browser, "No funnel yet.")
    until_text(browser, "New funnel")
    assert driving.serious_barriers(browser) == []
    for scheme in ("dark", "light"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"funnels_empty_{scheme}.png")
    driving.resize(browser, 390, 1900)
    browser.save_screenshot(screenshots / "funnels_empty_phone.png")
    assert fits(browser)
    driving.resize(browser, 1280, 1100)
    fill_in(browser)
    browser.find_element(By.XPATH, "//button[text()='Make this funnel']").click()
    until_text(browser, "First order is made.")
    until_text(browser, "most people lost")
    browser.find_element(By.XPATH, "//button[text()='Deactivate']").click()
    until_text(browser, "Deactivate this funnel?")
    browser.find_element(By.XPATH, "//dialog//button[@value='no']").click()
    assert kept(funnels).active
    browser.find_element(By.XPATH, "//button[text()='Deactivate']").click()
    browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
    until_text(browser, "First order is inactive.")
    assert not kept(funnels).active
    assert [step.event for step in kept(funnels).steps] == list(STEPS)
    assert [each.property for each in kept(funnels).steps[0].filters] == ["platform"]
    assert [(each.event, each.from_step, each.to_step) for each in kept(funnels).exclusions] == [
        ("returned", 0, 2)
    ]


def fill_in(browser: Chrome) -> None:
    """Describe a funnel with a condition and an exclusion."""
    name = browser.find_element(By.NAME, "new_name")
    name.clear()
    name.send_keys("First order")
    for place, event in enumerate(STEPS):
        field = browser.find_element(By.NAME, f"new_{place}")
        field.clear()
        field.send_keys(event)
    browser.find_element(By.NAME, "new_0_where").send_keys("platform = ios")
    browser.find_element(By.NAME, "new_without_0").send_keys("returned")
    browser.find_element(By.CSS_SELECTOR, "[name=new_before_0] [value='3']").click()


def kept(service: Service) -> pb.Funnel:
    return service.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="first-order")).funnel
