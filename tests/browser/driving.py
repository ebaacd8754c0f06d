"""Debian's headless Chromium, and what it complained about."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_selenium_python import Axe  # type: ignore[import-untyped]  # ships no types
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

DRIVER = shutil.which("chromedriver")
WAIT_SECONDS = 10


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser that remembers nothing; skips where Debian's chromium and chromium-driver are missing."""
    browser = shutil.which("chromium")
    if browser is None or DRIVER is None:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def resize(browser: Chrome, width: int, height: int) -> None:
    """Make the page so large, as a phone or a screen would."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(browser: Chrome, scheme: str) -> None:
    """Have the system prefer "dark" or "light"."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def complaints(browser: Chrome) -> list[str]:
    """What the console and the content security policy said since the last time."""
    # Any page has log entries of these levels for violations and uncaught errors alike.
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it so
    return [entry["message"] for entry in entries if entry["level"] in {"WARNING", "SEVERE"}]


def transferred_bytes(browser: Chrome) -> int:
    """Bytes over the network since the last time."""
    entries = browser.get_log("performance")  # type: ignore[no-untyped-call]  # selenium leaves it so
    messages = [json.loads(entry["message"])["message"] for entry in entries]
    finished = [each for each in messages if each["method"] == "Network.loadingFinished"]
    return int(sum(each["params"]["encodedDataLength"] for each in finished))


def server_seconds(browser: Chrome) -> float:
    """How long the server took for the page that is shown, from the request to the first byte."""
    script = "return performance.getEntriesByType('navigation')[0].toJSON()"
    page = browser.execute_script(script)
    return float(page["responseStart"] - page["requestStart"]) / 1_000


def serious_barriers(browser: Chrome) -> list[str]:
    """What axe-core finds that keeps people out, seriously or critically: the rule and the elements."""
    axe = Axe(browser)
    axe.inject()
    return [
        f"{found['id']}: {[node['html'] for node in found['nodes']]}"
        for found in axe.run()["violations"]
        if found["impact"] in {"serious", "critical"}
    ]


def until(browser: Chrome, script: str) -> None:
    """Wait until a script says true."""
    waiting = WebDriverWait(browser, WAIT_SECONDS, poll_frequency=0.05)
    waiting.until(lambda page: page.execute_script(script), f"not true: {script}")


def until_text(browser: Chrome, text: str) -> None:
    """Wait until the page says so."""
    waiting = WebDriverWait(browser, WAIT_SECONDS, poll_frequency=0.05)
    waiting.until(lambda page: text in page.execute_script("return document.body.innerText"), f"no {text!r}")
