"""The tab A/B Tests in a real browser: drawn, keyboard, confirmed actions, phone."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from shared.auth import Role, mint_token
from tests.browser import driving
from tests.browser.driving import until_text
from tests.browser.test_dashboard import press, sign_in
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import running as running_events
from tests.services.experiments.asking import assign_all, convert_all, create, definition, person, start
from tests.services.experiments.conftest import Service, running

pytestmark = pytest.mark.peers
METRICS = [
    pb.Metric(name="signup", kind=pb.METRIC_KIND_CONVERSION, minimum_relative_effect=0.1),
    pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE),
    pb.Metric(name="load_seconds", kind=pb.METRIC_KIND_VALUE, decrease_is_better=True, guardrail=True),
]


@pytest.fixture
def experiments(
    experiments_database: str,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
) -> Iterator[Service]:
    now = Clock(int((NOW.timestamp() - 6 * 86_400) * 1e6))
    with running(experiments_database, now, token_keys[0], public_key_file) as service:
        a_test_of_three(service)
        create(service, "checkout", definition(10, 90, hypothesis="Fewer fields, more orders"))
        yield service


@pytest.fixture
def site(
    experiments: Service, events_database: str, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Site]:
    token = mint_token(token_keys[0], "ada", [Role.ADMIN], None, NOW.timestamp())
    address = f"127.0.0.1:{experiments.application.server.port}"
    with (
        running_events(events_database, Clock(), token_keys[0], public_key_file) as events,
        gateway(
            events.application.server.port, public_key_file, NOW.timestamp, experiments_address=address
        ) as origin,
    ):
        yield Site(origin, token)


def a_test_of_three(service: Service) -> None:
    """In b more sign up and pay; c loads slowly."""
    hypothesis = "A warmer colour of the button draws more people into signing up."
    create(service, "colour", definition(40, 30, 30, metrics=METRICS, hypothesis=hypothesis))
    start(service)
    generator = random.Random(7)
    made = []
    for name, variant in assign_all(service, (f"u-{number}" for number in range(4_000))).items():
        if generator.random() < {"a": 0.2, "b": 0.29, "c": 0.21}[variant]:
            made.append(converted(name, "signup"))
        if generator.random() < 0.3:
            made.append(converted(name, "revenue", generator.lognormvariate(3, 0.6)))
        made.append(converted(name, "load_seconds", generator.gammavariate(4, 0.3) + 0.4 * (variant == "c")))
    convert_all(service, made)


def converted(name: str, metric: str, value: float | None = None) -> pb.Conversion:
    identity = f"{metric}-{name}"
    return pb.Conversion(
        conversion_id=identity, experiment_key="colour", person=person(name), metric=metric, value=value
    )


def test_results_are_drawn(site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, site, "events?range=7d")
    driving.resize(browser, 1280, 1500)
    press(browser, "2")
    until_text(browser, "Ship b: it improves signup")
    until_text(browser, "Harmed by c.")
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.effect")) == 6
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"experiments_{scheme}.png")
    assert driving.serious_barriers(browser) == []
    driving.prefer(browser, "light")
    driving.resize(browser, 390, 1900)
    browser.save_screenshot(screenshots / "experiments_phone.png")
    width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(width)


def test_an_experiment_is_started_and_decided_after_asking(
    site: Site, browser: Chrome, experiments: Service, screenshots: Path
) -> None:
    sign_in(browser, site, "experiments?range=7d&key=checkout")
    until_text(browser, "A draft: nobody gets a variant")
    browser.find_element(By.XPATH, "//button[text()='Start']").click()
    until_text(browser, "Start this experiment?")
    browser.save_screenshot(screenshots / "experiments_asked.png")
    browser.find_element(By.XPATH, "//dialog//button[@value='no']").click()
    assert status(experiments) == pb.EXPERIMENT_STATUS_DRAFT
    browser.find_element(By.XPATH, "//button[text()='Start']").click()
    browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
    until_text(browser, "checkout is running.")
    assert status(experiments) == pb.EXPERIMENT_STATUS_RUNNING
    browser.find_element(By.NAME, "override_reason").send_keys("the old one is gone")
    browser.find_element(By.XPATH, "//button[text()='Declare']").click()
    until_text(browser, "Declare this winner?")
    browser.find_element(By.XPATH, "//dialog//button[@value='yes']").click()
    until_text(browser, "checkout has a winner.")
    until_text(browser, "“the old one is gone”, although")
    browser.save_screenshot(screenshots / "experiments_decided.png")


def status(service: Service) -> "pb.ExperimentStatus.ValueType":
    request = pb.GetExperimentRequest(experiment_key="checkout")
    return service.experiments.GetExperiment(request).experiment.status
