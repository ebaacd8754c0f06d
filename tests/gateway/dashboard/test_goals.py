"""The conversion rate's card: which events it chooses, which days it counts, and what it says of them."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
from brain.events.v1.events_pb2 import TopEvent

from gateway.dashboard.overview import goal_card
from gateway.dashboard.page import goals
from gateway.dashboard.page.frame import PREFIX
from gateway.dashboard.page.goals import Goal
from gateway.dashboard.page.scope import Scope
from tests.gateway.dashboard.conftest import FORMULA
from tests.gateway.dashboard.test_pages import text_of

EVENTS = f"{PREFIX}/events"
SEEN = TopEvent(event="seen", events=90, users=30)
PUT = TopEvent(event="put in basket", events=95, users=20)
BOUGHT = TopEvent(event="bought", events=8, users=8, value_sum=80)


@pytest.mark.parametrize(
    ("asked", "events", "found"),
    [
        (Goal(), [PUT, SEEN, BOUGHT], ("seen", "bought")),
        # Nobody pays before doing something else: where buyers are most, the next most frequent follows.
        (Goal(), [TopEvent(event="bought", users=40, value_sum=1), SEEN, PUT], ("bought", "seen")),
        (Goal(), [SEEN, PUT], ("seen", "put in basket")),
        (Goal(start="bought"), [SEEN, PUT, BOUGHT], ("bought", "seen")),
        (Goal(end="seen"), [SEEN, PUT, BOUGHT], ("put in basket", "seen")),
        (Goal("seen", "seen"), [], ("seen", "seen")),
        (Goal("gone", "seen"), [SEEN], ("gone", "seen")),
        (Goal(), [SEEN], None),
        (Goal(), [], None),
    ],
)
def test_the_data_choose_what_was_left_open(
    asked: Goal, events: list[TopEvent], found: tuple[str, str] | None
) -> None:
    goal = goals.chosen(asked, events)
    assert (None if goal is None else (goal.start, goal.end)) == found


@pytest.mark.parametrize(
    ("minutes", "counted", "earlier"),
    [
        (60, (date(2025, 3, 5), date(2025, 3, 10)), (date(2025, 2, 26), date(2025, 3, 3))),
        # At noon of the 11th a day after the 9th's end is over, one after the 10th's is not.
        (1_440, (date(2025, 3, 5), date(2025, 3, 9)), (date(2025, 2, 26), date(2025, 3, 2))),
        (10_080, (date(2025, 3, 5), date(2025, 3, 11)), None),
    ],
)
def test_days_count_once_their_last_window_is_over(
    minutes: int, counted: tuple[date, date], earlier: tuple[date, date] | None
) -> None:
    noon = datetime(2025, 3, 11, 12, tzinfo=UTC)
    first, last = date(2025, 3, 5), date(2025, 3, 11)
    shown = Scope("7d", first, last, ZoneInfo("UTC"), compare=False, now=noon, goal=Goal("a", "b", minutes))
    days = goal_card.days_of(shown)
    assert (days.counted, days.earlier) == (counted, earlier)
    assert days.line == (date(2025, 2, 26), last)


def test_the_card_is_counted_by_hand(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d").text)
    # Of the visitors of 5 to 9 November the first bought; the 10th's window is not over before midnight.
    assert "Conversion rate" in page
    assert "10.0 % 5 Nov to 9 Nov 2011 ■ ±0 % against 29 Oct to 2 Nov 2011" in page
    assert "visited → bought 1 of 10" in page
    hour = text_of(visitor.get(f"{EVENTS}?range=7d&goal_minutes=60").text)
    # Thirty came on the 10th, which is over an hour after its end.
    assert "3.33 % 5 Nov to 10 Nov 2011 ▼ −66.7 % against 29 Oct to 3 Nov 2011" in hour
    assert "visited → bought 1 of 30" in hour


def test_another_goal_is_kept_by_every_link_and_by_the_other_tabs(visitor: httpx.Client) -> None:
    page = visitor.get(
        f"{EVENTS}?range=7d&goal_start=bought&goal_end=visited&goal_minutes=10080&by=event"
    ).text
    assert "bought → visited" in text_of(page)
    links = re.findall(r'href="[^"]*/(?:events|retention)\?([^"]*)"', page)
    assert len(links) > 7
    assert all("goal_start=bought" in link and "goal_minutes=10080" in link for link in links)
    for form in re.findall(
        r'<form class="(?:panel|zone auto|search|auto controls)".*?</form>', page, re.DOTALL
    ):
        assert 'type="hidden" name="goal_start" value="bought"' in form
    form = page[page.index('class="auto panel"') :].partition("</form>")[0]
    assert 'name="by" value="event"' in form
    assert 'type="hidden" name="goal_start"' not in form
    assert "bought → visited" in text_of(visitor.get(f"{PREFIX}/retention?goal_start=bought").text)


def test_a_goal_nobody_began_has_no_rate(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{EVENTS}?range=7d&goal_start=nothing&goal_end={FORMULA}").text)
    assert "nothing to compare on" in page
    assert "0 of 0" in page


def test_a_wrong_goal_names_its_fields(visitor: httpx.Client) -> None:
    answer = visitor.get(f"{EVENTS}?goal_minutes=5&goal_start={'x' * 201}")
    assert answer.status_code == 400
    assert set(re.findall(r"<dt><code>(.*?)</code>", answer.text)) == {"goal_minutes", "goal_start"}
