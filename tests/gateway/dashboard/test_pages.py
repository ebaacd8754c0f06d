"""What the pages say, against the made history counted by hand."""

import csv
import html
import io
import re
from urllib.parse import urlencode

import httpx
import pytest

from gateway.dashboard.page.frame import PREFIX
from tests.gateway.dashboard.conftest import FORMULA, SCRIPT

EVENTS = f"{PREFIX}/events"


def text_of(page: str) -> str:
    """What a reader sees: without tags, blanks run together."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def rows_of(answer: httpx.Response) -> list[list[str]]:
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_cards_show_the_last_full_day_beside_its_weekday(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d").text)
    # Thirty visitors yesterday, ten a week before.
    assert "Daily active users" in page
    assert "30 Thu 10 Nov 2011 ▲ +200 % against Thu 3 Nov 2011" in page
    # Six full days of one purchase of 5, the same days a week before.
    assert "30 GBP 5 Nov to 10 Nov 2011 ■ ±0 % against 29 Oct to 3 Nov 2011" in page
    assert "MAU 30" in page


def test_an_unfinished_day_is_compared_with_nothing(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=today").text)
    assert "12 so far compared once the day is over" in page


def test_a_day_unlike_its_weekday_is_worth_a_look(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(EVENTS).text)
    assert (
        "Daily active users on Thu 10 Nov 2011: 30, more than on each of the 8 Thursdays before (10 to 10)."
        in page
    )
    assert "Revenue on" not in page


def test_top_events_are_counted_over_the_range(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d").text)
    # Six days of 10 visits and one of 30, 7 purchases, two odd events.
    assert "of 99 in all" in page
    assert "visited 90 90.9 % 30 bought 7 7.07 % 1" in page


def test_the_trend_names_every_interval(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d&event=visited&measure=users").text)
    assert "Time People 5 Nov 10 6 Nov 10 7 Nov 10 8 Nov 10 9 Nov 10 10 Nov 30 11 Nov 10" in page


def test_the_days_before_stand_beside(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d&event=visited&compare=1").text)
    assert "Time Events The 7 days before 5 Nov 10 10" in page
    assert "10 Nov 30 10" in page


def test_a_break_down_has_a_line_for_each_group(visitor: httpx.Client) -> None:
    page = visitor.get(f"{EVENTS}?range=7d&by=category").text
    assert "Time (no category) revenue" in text_of(page)
    assert page.count('<path class="line series-1"') == 2  # in the chart and in the legend


def test_script_in_events_is_text_everywhere(visitor: httpx.Client) -> None:
    for path in (
        "/events",
        "/events?by=event",
        "/events?by=property&property=plan",
        "/feed",
        "/retention",
        f"/events?{urlencode({'goal_start': SCRIPT, 'goal_end': SCRIPT})}",
    ):
        page = visitor.get(f"{PREFIX}{path}").text
        assert SCRIPT not in page
        assert html.escape(SCRIPT) in page
    page = visitor.get(f"{PREFIX}/user", params={"id": SCRIPT}).text
    assert SCRIPT not in page
    assert html.escape(SCRIPT) in page


def test_no_page_has_anything_inline_that_the_policy_forbids(visitor: httpx.Client) -> None:
    for path in (
        "/events",
        "/retention",
        "/snapshots",
        "/user?id=user-1",
        "/sign-in",
        "/events?range=nonsense",
        "/nowhere",
    ):
        answer = visitor.get(f"{PREFIX}{path}")
        assert not re.search(r"<style|<script(?! src=)|\sstyle=|\son\w+=|javascript:", answer.text)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"


def test_a_time_line_is_of_one_person_newest_first(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{PREFIX}/user?id=user-15").text)
    assert "User user-15" in page
    assert page.count(" visited ") == 1
    first = text_of(visitor.get(f"{PREFIX}/user?id=user-0").text)
    assert first.index("11 Nov 2011, 06:01:40 bought") < first.index("11 Nov 2011, 06:00:00 visited")


def test_a_long_time_line_goes_on_behind_its_end(visitor: httpx.Client) -> None:
    first = visitor.get(f"{PREFIX}/user?id=user-0").text
    assert first.count("<tr>") == 101
    token = html.unescape(re.search(r'name="page" value="([^"]*)"', first)[1])  # type: ignore[index]
    second = visitor.get(f"{PREFIX}/user", params={"id": "user-0", "kind": "user", "page": token}).text
    assert second.count("<tr>") == 41
    assert "Older events" not in second


def test_who_is_unknown_is_said_so(visitor: httpx.Client) -> None:
    assert "No user, anonymous id or session" in visitor.get(f"{PREFIX}/user?id=nobody").text


def test_a_session_is_found_where_no_user_has_the_id(visitor: httpx.Client) -> None:
    assert "Session s" in text_of(visitor.get(f"{PREFIX}/user?id=s").text)


def test_files_hold_what_the_page_shows(visitor: httpx.Client) -> None:
    header, *rows = rows_of(visitor.get(f"{EVENTS}/top.csv?range=7d"))
    assert header == ["event", "events", "share_ratio", "people", "value_sum"]
    assert rows[0] == ["visited", "90", str(90 / 99), "30", "0.0"]
    assert rows[1] == ["bought", "7", str(7 / 99), "1", "35.0"]
    header, *rows = rows_of(visitor.get(f"{EVENTS}/trend.csv?range=7d&by=event"))
    assert header == ["start_time", "event", "events", "people", "value_sum", "complete"]
    assert rows[5] == ["2011-11-10T00:00:00+00:00", "visited", "30", "30", "0.0", "yes"]
    assert len(rows) == 7 * 4


def test_files_hold_no_formula(visitor: httpx.Client) -> None:
    answers = [
        visitor.get(f"{EVENTS}/top.csv"),
        visitor.get(f"{EVENTS}/trend.csv?by=event"),
        visitor.get(f"{PREFIX}/user/time_line.csv", params={"id": FORMULA}),
    ]
    cells = [cell for answer in answers for row in rows_of(answer) for cell in row]
    assert f"'{FORMULA}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("range=8d", {"range"}),
        ("zone=Mars/Phobos", {"zone"}),
        ("zone=../../etc/passwd", {"zone"}),
        ("range=custom", {"from", "to"}),
        ("range=custom&from=2011-11-10&to=2011-11-01", {"from"}),
        ("range=custom&from=1999-12-31&to=2011-11-01", {"from"}),
        ("range=custom&from=2000-01-01&to=2011-11-01", {"from"}),
        ("compare=yes", {"compare"}),
        ("measure=x&by=y&zone=z", {"measure", "by", "zone"}),
        ("event=" + "x" * 201, {"event"}),
    ],
)
def test_a_wrong_address_names_all_its_fields(visitor: httpx.Client, query: str, fields: set[str]) -> None:
    answer = visitor.get(f"{EVENTS}?{query}")
    assert answer.status_code == 400
    assert set(re.findall(r"<dt><code>(.*?)</code>", answer.text)) == fields


def test_days_begin_in_the_asked_zone(visitor: httpx.Client) -> None:
    # 06:00 UTC is still the evening before in Honolulu; NOW is 22:26 on Thursday there.
    page = text_of(visitor.get(f"{EVENTS}?range=7d&event=visited&zone=Pacific/Honolulu").text)
    assert "Time Events 4 Nov 10 5 Nov 10 6 Nov 10 7 Nov 10 8 Nov 10 9 Nov 30 10 Nov 10" in page


def test_static_files_last_and_pages_do_not(visitor: httpx.Client) -> None:
    page = visitor.get(EVENTS).text
    for address in re.findall(r'(?:src|href)="([^"]*/static/[^"]*)"', page):
        answer = visitor.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert visitor.get(f"{PREFIX}/static/../routes.py").status_code == 404


def test_the_feed_stops_asking_when_paused(visitor: httpx.Client) -> None:
    assert 'hx-trigger="every 5s"' in visitor.get(f"{PREFIX}/feed").text
    paused = visitor.get(f"{PREFIX}/feed?paused=1").text
    assert "hx-trigger" not in paused
    assert "Resume" in paused
