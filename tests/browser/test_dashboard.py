"""The dashboard as people use it, in a real browser, over the shop's year."""

from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from gateway.dashboard.page.frame import PREFIX
from tests.browser import driving
from tests.browser.driving import until_text
from tests.gateway.dashboard.serving import Site

pytestmark = pytest.mark.peers

WINTER = "range=custom&from=2011-11-10&to=2011-12-09"
LARGEST_TRANSFER_BYTES = 200_000
LONGEST_SERVER_SECONDS = 0.3


def sign_in(browser: Chrome, site: Site, path: str = f"events?{WINTER}") -> None:
    browser.get(f"{site.home}/{path}")
    browser.find_element(By.ID, "token").send_keys(site.token, Keys.ENTER)
    until_text(browser, "updated")


def press(browser: Chrome, key: str) -> None:
    ActionChains(browser).send_keys(key).perform()


def focused_id(browser: Chrome) -> str | None:
    return browser.switch_to.active_element.get_attribute("id")


def test_signing_in_shows_the_page_that_was_wanted(
    shop_site: Site, browser: Chrome, screenshots: Path
) -> None:
    browser.get(f"{shop_site.home}/events?{WINTER}")
    assert focused_id(browser) == "token"
    browser.save_screenshot(screenshots / "sign_in.png")
    sign_in(browser, shop_site)
    assert browser.current_url == f"{shop_site.home}/events?{WINTER}"
    driving.resize(browser, 1280, 1700)
    browser.save_screenshot(screenshots / "events.png")
    for fact in ("Fri 9 Dec 2011", "86,860", "item_returned"):
        until_text(browser, fact)


def test_the_first_view_is_light_and_quick(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    driving.transferred_bytes(browser)
    browser.get(f"{shop_site.home}/events?{WINTER}")
    until_text(browser, "Top events")
    assert driving.transferred_bytes(browser) < LARGEST_TRANSFER_BYTES
    assert driving.server_seconds(browser) < LONGEST_SERVER_SECONDS


def test_controls_change_the_address_and_the_chart_without_reloading(
    shop_site: Site, browser: Chrome, screenshots: Path
) -> None:
    sign_in(browser, shop_site)
    browser.execute_script("window.stays = true")
    Select(browser.find_element(By.ID, "by")).select_by_value("property")
    assert focused_id(browser) == "property"
    browser.switch_to.active_element.send_keys("country", Keys.ENTER)
    driving.until(browser, "return location.search.includes('property=country')")
    until_text(browser, "France\nGermany")
    browser.save_screenshot(screenshots / "by_country.png")
    browser.find_element(By.LINK_TEXT, "12 m").click()
    until_text(browser, "Fri 17 Dec 2010 to Fri 16 Dec 2011")
    assert "property=country" in browser.current_url
    assert browser.execute_script("return window.stays")
    browser.back()
    until_text(browser, "Thu 10 Nov 2011 to Fri 9 Dec 2011")


def test_another_zone_moves_the_days(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    zone = browser.find_element(By.ID, "zone")
    zone.send_keys(Keys.CONTROL, "a")
    zone.send_keys("America/New_York", Keys.ENTER)
    until_text(browser, "· America/New_York ·")
    until_text(browser, "9 Dec 2011, 07:50:00")


def test_everything_can_be_done_with_the_keyboard(
    shop_site: Site, browser: Chrome, screenshots: Path
) -> None:
    sign_in(browser, shop_site)
    press(browser, "?")
    until_text(browser, "switch between light and dark")
    browser.save_screenshot(screenshots / "help.png")
    press(browser, Keys.ENTER)
    press(browser, "t")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("data-theme") == "dark"
    press(browser, "/")
    assert focused_id(browser) == "search"
    browser.switch_to.active_element.send_keys("12748", Keys.ENTER)
    until_text(browser, "All events, newest first.")
    # The choice is kept, and typing into a field triggers no shortcut.
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("data-theme") == "dark"
    browser.save_screenshot(screenshots / "user.png")
    press(browser, "1")
    until_text(browser, "Top events")
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.is_displayed()


def test_refreshing_keeps_the_page_and_its_search(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    browser.find_element(By.ID, "search").send_keys("half typed")
    browser.execute_script("document.getElementById('view').dataset.old = '1'")
    browser.find_element(By.CSS_SELECTOR, "header [data-act=refresh]").click()
    driving.until(browser, "return !document.getElementById('view').dataset.old")
    assert browser.find_element(By.ID, "search").get_attribute("value") == "half typed"


def test_numbers_that_cannot_be_refreshed_are_marked(
    shop_site: Site, browser: Chrome, screenshots: Path
) -> None:
    sign_in(browser, shop_site)
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    press(browser, "r")
    until_text(browser, "Refreshing failed")
    browser.save_screenshot(screenshots / "stale.png")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    browser.find_element(By.CSS_SELECTOR, "#stale .button").click()
    driving.until(browser, "return document.getElementById('stale').hidden")
    # The browser itself reports that it was offline.
    assert all("ERR_INTERNET_DISCONNECTED" in each or "htmx" in each for each in driving.complaints(browser))


def test_the_feed_can_be_paused_and_resumed(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    browser.find_element(By.ID, "feed-pause").click()
    until_text(browser, "paused, the last 50")
    browser.find_element(By.ID, "feed-pause").click()
    until_text(browser, "every 5 s, the last 50")


def test_tables_are_sorted_by_their_headers(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)

    def first_event() -> str:
        return browser.find_element(By.CSS_SELECTOR, ".sortable tbody th").text

    assert first_event() == "item_purchased"
    browser.find_element(By.XPATH, "//button[text()='People']").click()
    assert first_event() == "item_purchased"
    browser.find_element(By.XPATH, "//button[text()='People']").click()
    assert first_event() == "item_returned"


def test_dark_follows_the_system(shop_site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, shop_site, "events?range=12m&compare=1")
    grounds = []
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        browser.save_screenshot(screenshots / f"{scheme}.png")
    assert grounds == ["rgb(246, 247, 249)", "rgb(17, 20, 24)"]


@pytest.mark.parametrize("tab", ["events", "retention"])
def test_a_phone_scrolls_tables_and_not_the_page(
    shop_site: Site, browser: Chrome, screenshots: Path, tab: str
) -> None:
    sign_in(browser, shop_site, f"{tab}?{WINTER}")
    driving.resize(browser, 360, 2400)
    browser.refresh()
    browser.save_screenshot(screenshots / f"phone_{tab}.png")
    width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(width) <= 360
    for summary in browser.find_elements(By.CSS_SELECTOR, "header summary"):
        summary.click()
        assert browser.execute_script(width) <= 360
    labels = browser.find_elements(By.CSS_SELECTOR, ".plot .label")
    assert bool(labels) == (tab == "events")
    assert {label.value_of_css_property("font-size") for label in labels} <= {"12px"}


def test_signing_out_leaves_nothing(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    browser.find_element(By.CSS_SELECTOR, ".account summary").click()
    browser.find_element(By.XPATH, "//button[text()='Sign out']").click()
    until_text(browser, "Token with the role")
    browser.get(f"{shop_site.home}/events")
    until_text(browser, "Token with the role")


def test_a_link_on_another_site_opens_the_page(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    elsewhere = f"data:text/html,<a id=link href='{shop_site.home}/events?{WINTER}'>numbers</a>"
    browser.get(elsewhere)
    browser.find_element(By.ID, "link").click()
    until_text(browser, "Top events")


def test_nothing_is_readable_by_script_in_the_page(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    assert "brain_session" not in browser.execute_script("return document.cookie")
    assert PREFIX not in browser.execute_script("return JSON.stringify(localStorage)")


def test_a_wrong_address_says_what_is_wrong(shop_site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, shop_site)
    browser.get(f"{shop_site.home}/events?range=nonsense&zone=Mars")
    until_text(browser, "must be one of today")
    browser.save_screenshot(screenshots / "failed.png")
    assert all("400" in each for each in driving.complaints(browser))


def test_auto_refresh_is_remembered(shop_site: Site, browser: Chrome) -> None:
    sign_in(browser, shop_site)
    browser.find_element(By.ID, "auto-refresh").click()
    browser.find_element(By.LINK_TEXT, "7 d").click()
    until_text(browser, "Sat 10 Dec 2011 to Fri 16 Dec 2011")
    driving.until(browser, "return document.getElementById('auto-refresh').checked")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_serious_barrier(shop_site: Site, browser: Chrome, width: int, scheme: str) -> None:
    driving.prefer(browser, scheme)
    driving.resize(browser, width, 900)
    browser.get(f"{shop_site.home}/events")
    assert driving.serious_barriers(browser) == []
    sign_in(browser, shop_site)
    for path in (
        f"events?{WINTER}&compare=1",
        f"events?{WINTER}&by=property&property=country",
        "user?id=12748",
    ):
        browser.get(f"{shop_site.home}/{path}")
        until_text(browser, "updated")
        assert driving.serious_barriers(browser) == []


def test_retention_is_a_grid_opened_by_its_key(shop_site: Site, browser: Chrome, screenshots: Path) -> None:
    sign_in(browser, shop_site, "events?range=custom&from=2011-08-01&to=2011-12-09")
    key = browser.find_element(By.LINK_TEXT, "Retention").get_attribute("aria-keyshortcuts")
    press(browser, str(key))
    until_text(browser, "Who comes back")
    Select(browser.find_element(By.ID, "cohort")).select_by_visible_text("weeks")
    until_text(browser, "Mon 5 Dec 2011")
    for scheme in ("light", "dark"):
        driving.prefer(browser, scheme)
        browser.save_screenshot(screenshots / f"retention_{scheme}.png")
        assert driving.serious_barriers(browser) == []
