"""Making and deactivating funnels from the page, and who may."""

import html
import re
from collections.abc import Callable

import httpx
from brain.funnels.v1 import funnels_pb2 as pb

from shared.auth import Role
from tests.gateway.dashboard.funnels.conftest import TAB, make, rows
from tests.gateway.dashboard.serving import Site, proof_of
from tests.services.funnels.conftest import Service


def form(page: str, **fields: str) -> dict[str, str]:
    """The form that makes a funnel as it is filled in."""
    part = page.partition('<form class="make"')[2].partition("</form>")[0]
    inputs = re.findall(r'<input[^>]*?name="(\w+)"[^>]*?value="([^"]*)"', part)
    return {name: html.unescape(value) for name, value in inputs} | fields


def test_an_empty_tab_offers_a_funnel_of_the_data(visitor: httpx.Client, funnels: Service) -> None:
    page = visitor.get(TAB).text
    assert "No funnel yet." in page
    assert '<option value="put in basket">' in page
    filled = form(page, new_minutes="60", new_order="ordered")
    assert (filled["new_0"], filled["new_1"]) == ("visited", "put in basket")
    filled["new_3"] = "bought"
    done = visitor.post(f"{TAB}/create", data=filled)
    after = visitor.get(done.headers["location"]).text
    assert "visited → put in basket is made." in after
    assert [row[1] for row in rows(after, "Steps")] == ["100", "50", "25"]
    kept = funnels.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="visited-put-in-basket")).funnel
    assert (kept.creator, kept.time_window_minutes) == ("admin", 60)


def test_a_refused_form_comes_back_as_it_was(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    page = visitor.get(TAB).text
    filled = form(
        page, new_name="Checkout", new_0="visited", new_1="", new_order="strict", new_minutes="10080"
    )
    done = visitor.post(f"{TAB}/create", data=filled)
    back = visitor.get(done.headers["location"]).text
    assert "2 to 64 are required" in back
    assert form(back)["new_name"] == "Checkout"
    assert '<option value="strict" selected>' in back
    assert '<option value="10080" selected>' in back
    filled = form(back, new_1="no such event", new_order="strict", new_minutes="10080")
    done = visitor.post(f"{TAB}/create", data=filled)
    assert "another funnel has the id &#39;checkout&#39;" in visitor.get(done.headers["location"]).text
    filled["new_name"] = "Other"
    done = visitor.post(f"{TAB}/create", data=filled)
    told = visitor.get(done.headers["location"]).text
    assert "Other is made. No event &#39;no such event&#39; was ever stored" in told


def test_a_funnel_with_conditions_and_exclusions_is_made_from_the_page(
    visitor: httpx.Client, funnels: Service
) -> None:
    filled = form(visitor.get(TAB).text, new_minutes="60", new_order="ordered")
    filled |= {"new_name": "Paid", "new_0": "visited", "new_0_where": "plan = pro", "new_1": "bought"}
    plain = visitor.get(visitor.post(f"{TAB}/create", data=filled).headers["location"]).text
    assert [row[1] for row in rows(plain, "Steps")] == ["50", "20"]
    assert "visited: plan = pro" in plain
    filled |= {
        "new_name": "Sudden",
        "new_without_0": "put in basket",
        "new_after_0": "1",
        "new_before_0": "2",
    }
    spoiled = visitor.get(visitor.post(f"{TAB}/create", data=filled).headers["location"]).text
    assert "without put in basket between" in spoiled
    assert [row[1] for row in rows(spoiled, "Steps")] == ["10", "0"]
    assert funnels.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="sudden")).funnel.exclusions


def test_refused_conditions_and_exclusions_come_back_as_they_were(visitor: httpx.Client) -> None:
    filled = form(visitor.get(TAB).text, new_minutes="60", new_order="ordered")
    filled |= {"new_0_where": "= pro", "new_without_1": "bought", "new_after_1": "2", "new_before_1": "1"}
    back = visitor.get(visitor.post(f"{TAB}/create", data=filled).headers["location"]).text
    assert "steps[0].filters[0].property" in html.unescape(back)
    assert "exclusions[0]" in html.unescape(back)
    kept = form(back)
    assert (kept["new_0_where"], kept["new_without_0"]) == ("= pro", "bought")


def test_a_funnel_is_deactivated_from_the_page(visitor: httpx.Client, funnels: Service) -> None:
    make(funnels)
    page = visitor.get(TAB).text
    done = visitor.post(f"{TAB}/deactivate", data={"proof": proof_of(page), "funnel": "checkout"})
    after = visitor.get(done.headers["location"]).text
    assert "Checkout is inactive." in after
    assert "Deactivate this funnel?" not in after
    assert not funnels.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="checkout")).funnel.active
    assert visitor.post(f"{TAB}/deactivate", data={"funnel": "checkout"}).status_code == 403


def test_an_analyst_may_look_and_not_change(
    site: Site, funnels: Service, token_for: Callable[..., str]
) -> None:
    with Site(site.origin, token_for(Role.ANALYST)).signed_in() as analyst:
        page = analyst.get(TAB).text
        assert "Somebody with the role admin can make one." in page
        assert "funnels/create" not in page
        fields = {"proof": proof_of(page), "new_name": "x", "new_0": "a", "new_1": "b"}
        done = analyst.post(f"{TAB}/create", data=fields)
        assert "needs the role admin" in analyst.get(done.headers["location"]).text
    assert not funnels.funnels.ListFunnels(pb.ListFunnelsRequest()).funnels
