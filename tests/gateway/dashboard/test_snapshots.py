"""Saving a view, finding it again, sharing it, deleting it."""

import html
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from brain.events.v1 import snapshots_pb2 as pb

from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.gateway.dashboard.conftest import SCRIPT
from tests.gateway.dashboard.serving import Site, proof_of, sign_in
from tests.services.events.conftest import Service

LIST = f"{PREFIX}/snapshots"


@pytest.fixture
def analyst(site: Site, token_for: Callable[..., str]) -> Iterator[httpx.Client]:
    with site.browser() as client:
        assert sign_in(client, token_for(Role.ANALYST)).status_code == 303
        yield client


def save(client: httpx.Client, address: str, name: str, **fields: str) -> httpx.Response:
    """Fill in the form of a view."""
    page = client.get(f"{PREFIX}/{address}").text
    action = html.unescape(re.search(r'action="([^"]*/snapshots/save[^"]*)"', page)[1])  # type: ignore[index]
    view = re.search(r'name="view" value="([^"]*)"', page)[1]  # type: ignore[index]
    return client.post(action, data={"proof": proof_of(page), "view": view, "name": name, **fields})


def opened(client: httpx.Client, name: str) -> str:
    """Follow the link of a snapshot in the list; return where it leads."""
    link = re.search(rf'href="([^"]*)"[^>]*title="{re.escape(html.escape(name))}"', client.get(LIST).text)
    assert link, "no such snapshot in the list"
    answer = client.get(html.unescape(link[1]))
    assert answer.status_code == 303
    return answer.headers["location"]


def test_a_saved_view_is_opened_with_the_days_it_showed(analyst: httpx.Client, visitor: httpx.Client) -> None:
    saved = save(
        analyst, "events?range=7d&by=category&measure=users&zone=Asia/Tokyo&compare=1", "By category"
    )
    assert saved.headers["location"].startswith(f"{LIST}?")
    assert 'role="status">Saved.' in analyst.get(saved.headers["location"]).text
    found = urlsplit(opened(visitor, "By category"))
    assert found.path == f"{PREFIX}/events"
    assert {key: value for key, (value,) in parse_qs(found.query).items()} == {
        "range": "custom",
        "from": "2011-11-05",
        "to": "2011-11-11",
        "zone": "Asia/Tokyo",
        "compare": "1",
        "by": "category",
        "measure": "users",
    }
    page = visitor.get(f"{found.path}?{found.query}").text
    assert "Snapshot “By category”, saved by analyst on " in page


def test_a_time_line_can_be_kept(analyst: httpx.Client) -> None:
    save(analyst, "user?id=user-0&range=today", "Somebody")
    found = urlsplit(opened(analyst, "Somebody"))
    assert (found.path, parse_qs(found.query)["id"]) == (f"{PREFIX}/user", ["user-0"])


def test_deleting_asks_first_and_removes_it(analyst: httpx.Client) -> None:
    save(analyst, "retention", SCRIPT)
    page = analyst.get(LIST).text
    assert SCRIPT not in page
    form = page[page.index(html.escape(SCRIPT)) :]
    assert f'data-confirm="Delete the snapshot “{html.escape(SCRIPT)}”?"' in form
    identity = re.search(r'name="id" value="([^"]*)"', form)[1]  # type: ignore[index]
    for told in ("Deleted.", "It was gone already."):
        done = analyst.post(f"{LIST}/delete", data={"proof": proof_of(page), "id": identity})
        assert told in analyst.get(done.headers["location"]).text
    assert html.escape(SCRIPT) not in analyst.get(LIST).text
    assert analyst.get(f"{PREFIX}/snapshot", params={"id": identity}).status_code == 404


def test_what_cannot_be_saved_says_why_and_stays(analyst: httpx.Client) -> None:
    refused = save(analyst, "events?range=7d&by=event", " ")
    assert refused.headers["location"] == f"{PREFIX}/events?range=7d&zone=UTC&by=event"
    page = analyst.get(refused.headers["location"]).text
    assert re.search(r'role="alert">Nothing was saved. The events service answered: name', page)
    assert save(analyst, "events", "x", view="../../evil").status_code == 400
    assert save(analyst, "events", "x", proof="0" * 64).status_code == 403


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"view": "//evil.example", "parameters": {}},
        {"view": "events", "parameters": []},
        {"view": ["events"], "parameters": {}},
    ],
)
def test_a_snapshot_of_anything_else_leads_nowhere(
    analyst: httpx.Client, events_service: Service, state: dict[str, object]
) -> None:
    saved = events_service.events.SaveSnapshot(
        pb.SaveSnapshotRequest(name="theirs", state_json=json.dumps(state))
    )
    answer = analyst.get(f"{PREFIX}/snapshot", params={"id": saved.snapshot.snapshot_id})
    assert answer.status_code == 404
    events_service.events.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=saved.snapshot.snapshot_id))


def test_many_snapshots_go_on_behind_the_end_of_the_list(
    analyst: httpx.Client, events_service: Service
) -> None:
    ids = [f"many-{number}" for number in range(101)]
    for one in ids:
        events_service.events.SaveSnapshot(pb.SaveSnapshotRequest(snapshot_id=one, name=one, state_json="{}"))
    first = analyst.get(LIST).text
    token = html.unescape(re.search(r'name="page" value="([^"]*)"', first)[1])  # type: ignore[index]
    second = analyst.get(LIST, params={"page": token}).text
    assert "Older snapshots" not in second
    shown = {name for page in (first, second) for name in re.findall(r'title="(many-\d+)"', page)}
    assert shown == set(ids)
    for one in ids:
        events_service.events.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=one))
