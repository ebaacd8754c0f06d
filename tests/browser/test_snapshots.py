"""Keeping views and choosing a goal, in a real browser."""

from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.browser import driving
from tests.browser.driving import until_text
from tests.browser.test_dashboard import WINTER, press, sign_in
from tests.gateway.dashboard.serving import Site

pytestmark = pytest.mark.peers


def save(browser: Chrome, name: str) -> None:
    browser.find_element(By.CSS_SELECTOR, ".snapshots summary").click()
    field = browser.find_element(By.ID, "snapshot-name")
    field.clear()
    field.send_keys(name, Keys.ENTER)
    until_text(browser, "Saved.")


def test_a_snapshot_is_saved_shared_and_deleted(shop_site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, shop_site, "events?range=7d&by=event")
    save(browser, "Last week")
    grants = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": shop_site.origin}
    browser.execute_cdp_cmd("Browser.grantPermissions", grants)
    browser.find_element(By.XPATH, "//button[text()='Copy link']").click()
    until_text(browser, "Copied")
    link = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert driving.serious_barriers(browser) == []
    browser.save_screenshot(screenshots / "snapshots.png")
    browser.get(link)
    until_text(browser, "Snapshot “Last week”, saved by ada on 16 Dec 2011")
    until_text(browser, "Sat 10 Dec 2011 to Fri 16 Dec 2011")
    assert "by=event" in browser.current_url
    browser.save_screenshot(screenshots / "snapshot.png")
    browser.refresh()
    until_text(browser, "updated")
    assert not browser.find_elements(By.ID, "notice")

    browser.find_element(By.CSS_SELECTOR, ".snapshots summary").click()
    browser.find_element(By.LINK_TEXT, "All snapshots").click()
    until_text(browser, "Last week")
    delete = "//tr[contains(., 'Last week')]//button[text()='Delete']"
    browser.find_element(By.XPATH, delete).click()
    until_text(browser, "Delete the snapshot “Last week”?")
    assert driving.serious_barriers(browser) == []
    browser.save_screenshot(screenshots / "confirm.png")
    # Cancel has the focus, so that a key pressed too early does no harm.
    press(browser, Keys.ENTER)
    driving.until(browser, "return !document.getElementById('confirm').open")
    browser.find_element(By.XPATH, delete).click()
    browser.find_element(By.CSS_SELECTOR, "#confirm [value=yes]").click()
    until_text(browser, "Deleted.")
    assert not browser.find_elements(By.XPATH, delete)


def test_another_goal_is_kept_on_the_other_tabs(shop_site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, shop_site, f"events?{WINTER}")
    until_text(browser, "item_purchased → item_returned")
    browser.find_element(By.CSS_SELECTOR, ".choose summary").click()
    browser.save_screenshot(screenshots / "goal.png")
    Select(browser.find_element(By.ID, "goal-start")).select_by_visible_text("item_returned")
    until_text(browser, "item_returned → item_purchased")
    browser.find_element(By.LINK_TEXT, "Retention").click()
    until_text(browser, "Who comes back")
    until_text(browser, "item_returned → item_purchased")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_snapshots_on_a_phone(shop_site: Site, browser: Chrome, screenshots: Path, scheme: str) -> None:
    driving.prefer(browser, scheme)
    driving.resize(browser, 360, 800)
    sign_in(browser, shop_site, "snapshots")
    browser.save_screenshot(screenshots / f"snapshots_phone_{scheme}.png")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.find_element(By.CSS_SELECTOR, ".snapshots summary").click()
    assert driving.serious_barriers(browser) == []
