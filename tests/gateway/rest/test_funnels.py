"""Funnels over REST: made, filled and read; and what is told where something is wrong."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.auth import Role
from tests.gateway.conftest import Gateway

PATH = "/api/analytics/funnels"
BEGIN = datetime.fromtimestamp(time.time(), UTC).replace(microsecond=0) - timedelta(days=1)
# Letters are events, one each minute.
HISTORIES = {"ann": "ABC", "bob": "AB", "cid": "A", "dan": "B"}


def post(client: httpx.Client, action: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    answer = client.post(PATH, params={"action": action}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(client: httpx.Client, action: str, **params: str | int) -> Any:  # noqa: ANN401 - JSON
    answer = client.get(PATH, params={"action": action, "funnelId": "checkout", **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wrong(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {each["field"] for each in answer.json()["error"]["fields"]}


@pytest.fixture
def client(funnelling: Gateway) -> Iterator[httpx.Client]:
    with funnelling.client() as made:
        for who, letters in HISTORIES.items():
            for minute, letter in enumerate(letters):
                event = {
                    "event": letter,
                    "userId": who,
                    "sessionId": "s",
                    "eventId": f"{who}-{minute}",
                    "eventTime": (BEGIN + timedelta(minutes=minute)).isoformat(),
                    "properties": {"plan": "pro" if who == "ann" else "free"},
                }
                assert made.post("/api/analytics/events", json=event).status_code == 200
        yield made


def checkout(client: httpx.Client, **more: object) -> Any:  # noqa: ANN401 - JSON
    steps = [{"event": letter} for letter in "ABC"]
    return post(client, "create", funnelId="checkout", name="Checkout", steps=steps, **more)


def test_a_funnel_is_made_and_read(client: httpx.Client) -> None:
    made = checkout(client)
    assert [step["order"] for step in made["funnel"]["steps"]] == [0, 1, 2]
    assert (made["funnel"]["orderMode"], made["warnings"]) == ("ordered", [])
    assert [each["funnelId"] for each in client.get(PATH).json()["funnels"]] == ["checkout"]
    results = get(client, "results", property="plan", histograms="true")["results"]
    assert [step["users"] for step in results["steps"]] == [3, 2, 1]
    assert [step["medianSeconds"] for step in results["steps"][1:]] == [60, 60]
    assert sum(each["users"] for each in results["steps"][1]["histogram"]) == 2
    assert [(each["group"], each["conversion"]["finishers"]) for each in results["groups"]] == [
        ('"free"', 0),
        ('"pro"', 1),
    ]
    assert results["conversion"]["conversionRatio"] == pytest.approx(1 / 3)
    points = get(client, "conversion", period="day")["points"]
    assert sum(each["conversion"]["starters"] for each in points) == 3
    dropoff = get(client, "dropoff", property="plan")
    assert [each["lost"] for each in dropoff["dropoffs"]] == [1, 1]
    assert (dropoff["largestRatioStep"], dropoff["largestCountStep"]) == (2, 1)
    lost = get(client, "users", step=2, outcome="lost")
    assert [each["user"] for each in lost["users"]] == [{"kind": "user", "id": "bob"}]
    until = datetime.now(UTC).isoformat()
    first = get(client, "users", outcome="reached", limit=2, endTime=until)
    token = first["nextPageToken"]
    rest = get(client, "users", outcome="reached", limit=2, endTime=until, pageToken=token)
    assert {each["user"]["id"] for each in first["users"] + rest["users"]} == {"ann", "bob", "cid"}
    [attempt] = get(client, "journey", userId="ann")["attempts"]
    assert (attempt["fate"], len(attempt["steps"])) == ("counts", 3)


def test_the_order_of_steps_may_be_said(client: httpx.Client) -> None:
    steps = [{"event": "B", "order": 1}, {"event": "A", "order": 0}]
    made = post(client, "create", funnelId="checkout", name="x", steps=steps, orderMode="strict")
    assert [step["event"] for step in made["funnel"]["steps"]] == ["A", "B"]
    twice = {"name": "x", "steps": [{"event": "A", "order": 0}, {"event": "B", "order": 0}]}
    assert wrong(client.post(PATH, params={"action": "create"}, json=twice)) == {"steps"}


def test_steps_are_recorded_once(client: httpx.Client) -> None:
    checkout(client)
    step = {
        "funnelId": "checkout",
        "step": 1,
        "user": {"kind": "user", "id": "cid"},
        "stepTime": (BEGIN + timedelta(minutes=2)).isoformat(),
    }
    assert [post(client, "track", **step)["duplicate"] for _ in range(2)] == [False, True]
    assert [step["users"] for step in get(client, "results")["results"]["steps"]] == [3, 3, 1]
    # Whoever asks is meant where nobody is named.
    post(client, "track", funnelId="checkout", step=0)
    assert len(get(client, "journey")["attempts"]) == 1


def test_everything_that_is_wrong_is_told_by_the_callers_names(client: httpx.Client) -> None:
    checkout(client)
    bad = {"funnelId": "a b", "steps": [{"event": ""}], "timeWindowMinutes": -1}
    answer = client.post(PATH, params={"action": "create"}, json=bad)
    assert wrong(answer) == {"funnelId", "name", "steps", "steps[0].event", "timeWindowMinutes"}
    answer = client.post(PATH, params={"action": "track"}, json={"funnelId": "checkout", "step": 9})
    assert wrong(answer) == {"step"}
    asked = {"action": "results", "funnelId": "checkout", "startTime": "2999-01-01T00:00:00Z"}
    assert wrong(client.get(PATH, params=asked)) == {"endTime"}
    asked = {"action": "users", "funnelId": "checkout", "step": "7"}
    assert wrong(client.get(PATH, params=asked)) == {"outcome"}
    asked = {"action": "users", "funnelId": "checkout", "outcome": "lost"}
    assert wrong(client.get(PATH, params=asked)) == {"step"}
    both = {"action": "journey", "funnelId": "checkout", "userId": "a", "anonymousId": "b"}
    assert wrong(client.get(PATH, params=both)) == {"anonymousId"}
    assert client.get(PATH, params={"action": "results", "funnelId": "x"}).status_code == 404
    assert wrong(client.get(PATH, params={"action": "nothing"})) == {"action"}


def test_roles_are_those_of_the_calls(funnelling: Gateway) -> None:
    with funnelling.client(Role.INGEST) as client:
        assert client.get(PATH).status_code == 403
        assert client.post(PATH, params={"action": "create"}, json={"name": "x"}).status_code == 403
        answer = client.post(PATH, params={"action": "track"}, json={"funnelId": "x"})
        assert answer.status_code == 404
