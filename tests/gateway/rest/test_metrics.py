"""Metrics over REST: active people, conversion, retention, growth, and saved points."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.rest.ranges import beginning_of
from shared.auth import Role
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


def stored(gateway: Gateway, *events: tuple[str, str, datetime]) -> None:
    """Store (event, user, time)."""
    with gateway.client() as client:
        for number, (event, user, moment) in enumerate(events):
            body = {"sessionId": "s", "event": event, "userId": user, "eventId": f"e{number}"}
            answer = client.post("/api/analytics/events", json=body | {"eventTime": moment.isoformat()})
            assert answer.status_code == 200


def asked(gateway: Gateway, action: str, **query: object) -> Any:  # noqa: ANN401 - JSON
    with gateway.client(Role.ANALYST) as client:
        return client.get(METRICS, params={"action": action, **query}).json()  # type: ignore[dict-item]  # httpx takes lists too


def refused_fields(gateway: Gateway, action: str, **query: object) -> set[str]:
    error = asked(gateway, action, **query)["error"]
    assert error["code"] == 400
    return {each["field"] for each in error["fields"]}


def test_conversion_counts_who_did_the_end_event_in_time(gateway: Gateway) -> None:
    minutes = [timedelta(minutes=each) for each in (0, 10, 20, 200)]
    stored(
        gateway,
        ("seen", "a", NOON),
        ("seen", "b", NOON),
        ("seen", "c", NOON),
        ("bought", "a", NOON + minutes[1]),
        ("bought", "b", NOON + minutes[2]),
        ("bought", "c", NOON + minutes[3]),
    )
    answer = asked(gateway, "conversion", startEvent="seen", endEvent="bought", period="day", timeZone="UTC")
    assert (answer["total"]["starters"], answer["total"]["converters"]) == (3, 2)
    assert answer["total"]["medianSeconds"] == 900
    by_day = {one["startTime"]: one["rate"]["starters"] for one in answer["points"]}
    assert sum(by_day.values()) == 3
    longer = asked(gateway, "conversion", startEvent="seen", endEvent="bought", windowMinutes=200)
    assert longer["total"]["converters"] == 3
    assert refused_fields(gateway, "conversion") == {"startEvent", "endEvent"}
    assert refused_fields(gateway, "conversion", startEvent="a", endEvent="b", windowMinutes=0) == {
        "windowMinutes"
    }


def test_retention_of_the_cohort_of_a_date(gateway: Gateway) -> None:
    monday = NOON - timedelta(days=NOON.weekday() + 14)
    stored(
        gateway,
        ("joined", "a", monday),
        ("joined", "b", monday),
        ("joined", "c", monday + timedelta(days=3)),
        ("seen", "a", monday + timedelta(days=2)),
        ("seen", "c", monday + timedelta(days=5)),
    )
    query = {"startEvent": "joined", "endEvent": "seen", "days": [1, 2], "timeZone": "UTC"}
    (day,) = asked(gateway, "retention", cohortDate=monday.date().isoformat(), **query)["cohorts"]
    assert day["startTime"] == monday.date().isoformat() + "T00:00:00Z"
    assert [(one["offsetDays"], one["returned"]) for one in day["cells"]] == [(1, 0), (2, 1)]
    thursday = (monday + timedelta(days=3)).date().isoformat()
    (week,) = asked(gateway, "retention", cohortDate=thursday, period="week", **query)["cohorts"]
    assert (week["size"], [one["returned"] for one in week["cells"]]) == (3, [0, 2])
    both = {"cohortDate": thursday, "startTime": monday.isoformat()}
    assert refused_fields(gateway, "retention", **both) == {"cohortDate"}
    assert refused_fields(gateway, "retention", cohortDate="2025-02-30", days=-1) == {"cohortDate", "days"}


def test_growth_from_one_period_to_the_next(gateway: Gateway) -> None:
    days = [NOON - timedelta(days=each) for each in range(4)]
    stored(
        gateway,
        *(("seen", user, days[1]) for user in ("a", "b", "c")),
        *(("seen", user, days[2]) for user in ("a", "b")),
        ("seen", "a", days[3]),
    )
    query = {"metric": "event_count", "label": "event=seen", "period": "day", "timeZone": "UTC"}
    before = asked(gateway, "growth", currentPeriod=days[1].date().isoformat(), **query)
    assert (before["current"]["value"], before["previous"]["value"], before["growthRatio"]) == (3, 2, 0.5)
    earlier = asked(gateway, "growth", currentPeriod=days[2].date().isoformat(), **query)
    assert (earlier["current"]["value"], earlier["growthRatio"]) == (2, 1)
    latest = asked(gateway, "growth", **query)
    assert latest["current"]["startTime"] == days[0].date().isoformat() + "T00:00:00Z"
    today = (NOON + timedelta(days=1)).date().isoformat()
    assert refused_fields(gateway, "growth", currentPeriod=today, **query) == {"currentPeriod"}
    assert refused_fields(gateway, "growth", metric="event_count") == {"label"}
    assert refused_fields(gateway, "growth", metric="dau", label="x") == {"label"}
    unknown = asked(gateway, "growth", metric="daw")["error"]
    assert (unknown["code"], "dau" in unknown["message"]) == (404, True)


def test_saved_points_are_listed_with_their_change(gateway: Gateway) -> None:
    point = {"name": "nps", "period": "daily", "value": 40.0, "metadata": {"asked": 12}}
    with gateway.client() as client:
        for day, value in (("2025-03-01", 40.0), ("2025-03-02", 50.0)):
            saved = client.post(METRICS, json=point | {"value": value, "pointTime": f"{day}T00:00:00Z"})
            assert saved.json() == {"created": 1, "replaced": 0}
        again = client.post(METRICS, json=point | {"pointTime": "2025-03-01T00:00:00Z", "target": 80})
        assert again.json() == {"created": 0, "replaced": 1}
    march = {"startTime": "2025-03-01T00:00:00Z", "endTime": "2025-04-01T00:00:00Z"}
    first, second = asked(gateway, "saved", metric="nps", period="daily", **march)["metrics"]
    assert (first["value"], first["targetAttainmentRatio"], first["metadata"]) == (40, 0.5, {"asked": 12})
    assert second["changeRatio"] == 0.25
    assert asked(gateway, "saved", metric="nps", period="weekly")["metrics"] == []
    page = asked(gateway, "saved", metric="nps", limit=1)
    (following,) = asked(gateway, "saved", metric="nps", limit=1, pageToken=page["nextPageToken"])["metrics"]
    assert following["pointTime"] == second["pointTime"]


def test_a_point_without_a_time_stands_for_the_period_that_runs(gateway: Gateway) -> None:
    with gateway.client() as client:
        for created in (1, 0):
            saved = client.post(METRICS, json={"name": "nps", "period": "monthly", "value": 1})
            assert saved.json()["created"] == created
    (kept,) = asked(gateway, "saved")["metrics"]
    assert kept["pointTime"] == datetime.now(UTC).strftime("%Y-%m-01T00:00:00Z")


def test_saving_needs_its_role_and_names_what_is_wrong(gateway: Gateway) -> None:
    with gateway.client(Role.ANALYST) as client:
        assert client.post(METRICS, json={"name": "nps", "period": "daily", "value": 1}).status_code == 403
    with gateway.client() as client:
        wrong = client.post(METRICS, json={"period": "yearly", "metadata": []}).json()["error"]["fields"]
        assert {one["field"] for one in wrong} == {"period", "metadata"}
        missing = client.post(METRICS, json={"metadata": {"a": "x" * 5_000}}).json()["error"]["fields"]
    assert {one["field"] for one in missing} == {"name", "period", "value", "metadata"}


@pytest.mark.parametrize(
    ("period", "begins"),
    [
        ("hourly", "2024-02-29T23:00:00+01:00"),
        ("daily", "2024-02-29T00:00:00+01:00"),
        ("weekly", "2024-02-26T00:00:00+01:00"),
        ("monthly", "2024-02-01T00:00:00+01:00"),
    ],
)
def test_periods_begin_by_the_local_calendar(period: str, begins: str) -> None:
    local = datetime(2024, 2, 29, 23, 59, 59, 999_999, ZoneInfo("Europe/Berlin"))
    assert beginning_of(period, local).isoformat() == begins
