"""The tab Funnels over a real funnels service: numbers, people, journeys, and what is absent."""

import html
import re
from collections.abc import Callable
from pathlib import Path

import httpx
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb

from shared.auth import Role
from tests.gateway.dashboard.conftest import FORMULA, NOW, SCRIPT
from tests.gateway.dashboard.funnels.conftest import STEPS, TAB, happened, make, rows, table
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.funnels.asking import steps
from tests.services.funnels.conftest import Service


def test_steps_are_bars_with_their_losses(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    page = visitor.get(TAB).text  # the one that is active is chosen
    assert "25.0 % finished: 25 of 100, half of them within 11 min." in page
    assert rows(page, "Steps") == [
        ["1 visited", "100", "100 %", "", "", ""],
        ["2 put in basket largest share lost, most people lost", "50", "50.0 %", "50.0 %", "50", "1 min"],
        ["3 bought", "25", "25.0 %", "50.0 %", "25", "10 min"],
    ]
    assert '<rect class="here" width="50.0%"' in page
    assert '<rect x="25.0%" width="25.0%" height="100%" fill="url(#lost)"/>' in page
    compared = visitor.get(TAB, params={"range": "7d", "compare": "1"}).text
    assert "nobody began in as many days before" in compared


def test_a_break_down_tells_groups_and_who_is_lost_more(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    page = visitor.get(TAB, params={"funnel": "checkout", "by": "plan"}).text
    assert rows(page, "Users of each step by plan") == [
        ["free", "50", "10", "5", "10.0 %", "11 min"],
        ["pro", "50", "40", "20", "40.0 %", "11 min"],
    ]
    [segment] = rows(page, "Values of properties")
    assert segment == ["Before put in basket where plan = free", "50", "80.0 %", "20.0 %", "< 0.001"]
    without = visitor.get(TAB, params={"funnel": "checkout", "by": "colour"}).text
    assert rows(without, "Users of each step by colour")[0][0] == "(without colour)"


def test_results_are_a_file(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    found = table(visitor.get(f"{TAB}/steps.csv", params={"funnel": "checkout", "by": "plan"}))
    assert [(row["people"], row["group"], row["name"], row["users"]) for row in found[:4]] == [
        ("everybody", "", "visited", "100"),
        ("everybody", "", "put in basket", "50"),
        ("everybody", "", "bought", "25"),
        ("group", "free", "visited", "50"),
    ]
    assert (found[0]["step_ratio"], found[1]["step_ratio"], found[1]["median_seconds"]) == ("", "0.5", "60.0")
    assert visitor.get(f"{TAB}/steps.csv?funnel=nothing").status_code == 404


def test_who_was_lost_is_paged_and_a_file(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels, ("visited", "bought"))
    asked: dict[str, str] = {"funnel": "checkout", "outcome": "lost", "step": "1", "range": "7d"}
    page = visitor.get(TAB, params=asked).text
    assert "75 people lost before bought" in page
    first = rows(page, "People")
    [token] = re.findall(r'name="page" value="([^"]+)"', page)
    rest = rows(visitor.get(TAB, params={**asked, "page": html.unescape(token)}).text, "People")
    assert (len(first), len(rest)) == (50, 25)
    file = table(visitor.get(f"{TAB}/people.csv", params=asked))
    lost = {f"u-{number}" for number in range(100) if number // 2 >= (5 if number % 2 == 0 else 20)}
    assert {row[0] for row in first + rest} == {row["id"] for row in file} == lost
    assert {(row["kind"], row["last_step"], row["step_time"]) for row in file} == {("user", "visited", "")}


def test_a_journey_says_why_attempts_count(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    again = events_pb2.TrackEventsRequest(events=[happened(1, "visited", 3_600), happened(200, "visited", 1)])
    again.events[0].event_id = "again"
    assert not funnels.events.events.TrackEvents(again).rejections
    asked = {"funnel": "checkout", "who": "u-1", "zone": "UTC"}
    attempts = rows(visitor.get(TAB, params=asked).text, "Attempts")
    assert [row[1:4] for row in attempts] == [
        [
            "counts",
            "No other attempt comes further.",
            "visited → put in basket after 1 min → bought after 10 min",
        ],
        ["does not count", "Another attempt comes further.", "visited"],
    ]
    assert attempts[0][0] == "10 Nov 2011, 08:00:01"
    assert attempts[0][4] == "over since 10 Nov 2011, 09:00:01"
    assert "No attempt on these days" in visitor.get(TAB, params={**asked, "who": "nobody"}).text


def test_optional_steps_and_any_order_are_told(visitor: httpx.Client, funnels: Service) -> None:
    listed = steps(STEPS)
    listed[1].optional = True
    make(funnels, (), steps=listed, exclusions=[pb.Exclusion(event="left", from_step=0, to_step=2)])
    page = visitor.get(TAB).text
    assert rows(page, "Steps")[1:] == [
        ["2 put in basket optional", "50", "50.0 %", "", "", "1 min"],
        ["3 bought largest share lost, most people lost", "25", "25.0 %", "25.0 %", "75", "11 min"],
    ]
    assert '<rect x="25.0%" width="75.0%" height="100%" fill="url(#lost)"/>' in page
    assert "visited → (put in basket) → bought" in page
    assert "in order, within 1 h, without left between." in page
    make(funnels, funnel_id="any", order_mode=pb.ORDER_MODE_UNORDERED)
    page = visitor.get(TAB, params={"funnel": "any", "outcome": "reached", "step": "2"}).text
    assert "in any order, within 1 h" in page
    assert rows(page, "Steps")[2][0].startswith("3 3 of the steps")
    assert "25 people reached 3 of the steps" in page


def test_what_is_not_over_is_said(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels, time_window_minutes=2 * 1_440)
    page = visitor.get(TAB).text
    assert "75 people may still finish: their time is not over." in page
    assert "in order, within 2 d" in page


def test_absent_numbers_have_their_reason(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels, ("visited", "refunded", "bought"))
    page = visitor.get(TAB).text
    assert 'title="nobody did this step"' in page
    early = visitor.get(TAB, params={"range": "custom", "from": "2011-01-01", "to": "2011-01-02"}).text
    assert "Nobody began on these days." in early
    assert 'title="nobody began on these days"' in early


def test_names_are_shown_as_text_and_files_are_no_programs(visitor: httpx.Client, funnels: Service) -> None:
    named = [pb.FunnelStep(event="visited", name=SCRIPT, order=0)]
    named.append(pb.FunnelStep(event="bought", name=FORMULA, order=1))
    asked = pb.CreateFunnelRequest(funnel_id="checkout", name=SCRIPT, steps=named)
    funnels.funnels.CreateFunnel(asked)
    page = visitor.get(TAB, params={"by": SCRIPT, "who": SCRIPT, "new_name": SCRIPT, "new_0": SCRIPT}).text
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    file = table(visitor.get(f"{TAB}/steps.csv?funnel=checkout"))
    assert file[1]["name"] == f"'{FORMULA}"


def test_what_is_wrong_is_told(visitor: httpx.Client, funnels: Service) -> None:
    assert "there is no funnel" in visitor.get(f"{TAB}?funnel=nothing").text
    make(funnels)
    assert "is not a token of this request" in visitor.get(f"{TAB}?outcome=lost&step=1&page=forged").text
    answer = visitor.get(TAB, params={"outcome": "x", "step": "64", "kind": "x", "touch": "x", "entry": "x"})
    assert answer.status_code == 400
    assert all(field in answer.text for field in ("outcome", "step", "kind", "touch", "entry"))
    first = visitor.get(TAB, params={"outcome": "lost", "step": "0"})
    assert first.status_code == 200
    assert "The funnels service answered: step" in first.text


def test_a_service_that_is_away_leaves_the_rest(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    funnels.application.stop()
    page = visitor.get(TAB).text
    assert "The funnels service does not answer at the moment." in page
    assert "Daily active users" in page
    assert visitor.get(f"{TAB}/steps.csv?funnel=checkout").status_code in {503, 504}


def test_a_service_that_is_not_connected_is_named(
    walked: EventsService, key_file: Path, token_for: Callable[..., str]
) -> None:
    port = walked.application.server.port
    with (
        gateway(port, key_file, NOW.timestamp) as origin,
        Site(origin, token_for(Role.ADMIN)).signed_in() as client,
    ):
        assert "set GATEWAY_FUNNELS_ADDRESS" in client.get(TAB).text
