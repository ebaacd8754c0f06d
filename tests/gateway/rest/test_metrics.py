"""Active people over REST."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.gateway.conftest import Gateway

METRICS = "/api/analytics/metrics"
NOON = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(hours=12)


@pytest.fixture
def visited(gateway: Gateway) -> Gateway:
    """Yesterday a and b, the day before a, ten days ago c."""
    with gateway.client() as client:
        for days, user in ((0, "a"), (0, "b"), (1, "a"), (10, "c")):
            event = {
                "sessionId": "s",
                "event": "seen",
                "userId": user,
                "eventId": f"{days}{user}",
                "eventTime": (NOON - timedelta(days=days)).isoformat(),
            }
            assert client.post("/api/analytics/events", json=event).status_code == 200
    return gateway


@pytest.mark.parametrize(("period", "users"), [("day", 0), ("week", 2), ("month", 3)])
def test_active_people_of_now(visited: Gateway, period: str, users: int) -> None:
    with visited.client() as client:
        answer = client.get(METRICS, params={"action": "active_users", "period": period})
    (one,) = answer.json()["activeUsers"]
    assert (one["users"], one["complete"]) == (users, False)


def test_a_series_of_days(visited: Gateway) -> None:
    query = {
        "action": "active_users",
        "startTime": (NOON - timedelta(days=1)).isoformat(),
        "endTime": NOON.isoformat(),
        "timeZone": "UTC",
    }
    with visited.client() as client:
        series = client.get(METRICS, params=query).json()["activeUsers"]
    assert [(one["users"], one["complete"]) for one in series] == [(1, True), (2, True)]


def test_the_action_is_required(shared_gateway: Gateway) -> None:
    with shared_gateway.client() as client:
        answer = client.get(METRICS)
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"][0]["field"] == "action"
