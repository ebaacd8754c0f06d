"""Forecasts, anomalies, customers and kept predictions over REST, beside what the service itself answers."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from brain.common.v1 import common_pb2
from brain.forecasting.v1 import forecasts_pb2

from shared.auth import Role
from tests.gateway.conftest import Gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAY, event, sell, track, weekly
from tests.services.forecasting.conftest import Service

PATH = "/api/analytics/predictions"
TODAY = time.time_ns() // 1_000 // DAY * DAY
# A week of sales of 2.50 each.
WEEK = sum(weekly(7)) * 2.5


def iso(micros: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()


@pytest.fixture
def client(predicting: Gateway) -> Iterator[httpx.Client]:
    with predicting.client() as made:
        yield made


def get(client: httpx.Client, action: str, **asked: object) -> Any:  # noqa: ANN401 - JSON
    answer = client.get(PATH, params={"action": action, **asked})  # type: ignore[dict-item]  # texts and numbers
    assert answer.status_code == 200, answer.text
    return answer.json()


def fields(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 400, answer.text
    return {each["field"] for each in answer.json()["error"]["fields"]}


def test_forecasts_are_those_of_the_service(
    client: httpx.Client, service: EventsService, forecasting: Service
) -> None:
    sell(service, weekly(84), TODAY)
    revenue = get(client, "revenue", horizon=7, level=0.5)["forecast"]
    request = forecasts_pb2.PredictRevenueRequest(interval=common_pb2.INTERVAL_DAY)
    request.options.options.horizon = 7
    same = forecasting.forecasting.PredictRevenue(request).forecast
    assert [each["expected"] for each in revenue["points"]] == [each.expected for each in same.points]
    assert revenue["total"]["expected"] == pytest.approx(WEEK, rel=0.05)
    assert [each["levelRatio"] for each in revenue["points"][0]["intervals"]] == [0.5]
    assert revenue["interval"] == "day"
    demand = get(client, "demand", event="sold", horizon=7)["forecast"]
    assert demand["total"]["expected"] == pytest.approx(WEEK / 2.5, rel=0.05)
    named = get(client, "metric", metric="event_count", label="event=sold", horizon=7)
    assert named["forecast"]["points"] == demand["points"]
    assert named["metric"]["unit"] == "events"
    grown = get(client, "growth", metric="dau", horizon=7, historyPoints=28)["forecast"]
    assert len(grown["history"]) == 28
    then = get(client, "revenue", asOfTime=iso(TODAY - 14 * DAY), horizon=7)["forecast"]
    assert then["points"][0]["startTime"] == iso(TODAY - 14 * DAY).replace("+00:00", "Z")


def test_closures_are_forecast_as_nothing(client: httpx.Client, service: EventsService) -> None:
    sell(service, weekly(84), TODAY)
    tomorrow = iso(TODAY + DAY)[:10]
    points = get(client, "revenue", horizon=3, closure=tomorrow)["forecast"]["points"]
    assert [each["expected"] == 0 for each in points] == [False, True, False]


def test_a_day_out_of_the_ordinary_is_told(client: httpx.Client, service: EventsService) -> None:
    counts = weekly(84)
    counts[-3] *= 6
    sell(service, counts, TODAY)
    asked = {"metric": "event_count", "label": "event=sold"}
    found = get(client, "anomalies", **asked)["found"]
    [one] = found["anomalies"]
    assert one["startTime"] == iso(TODAY - 3 * DAY).replace("+00:00", "Z")
    assert (one["direction"], one["peak"]["value"]) == ("up", counts[-3])
    assert found["threshold"] == 3
    before = get(client, "anomalies", **asked, startTime=iso(TODAY - 20 * DAY), endTime=iso(TODAY - 3 * DAY))
    assert before["found"]["anomalies"] == []
    assert get(client, "anomalies", **asked, sensitivity="low")["found"]["threshold"] == 4
    plain = get(client, "anomalies", **asked, method="zscore", threshold="2.5")["found"]
    assert plain["threshold"] == 2.5
    assert get(client, "anomalies", metric="revenue", interval="week")["timeZone"] == "UTC"


def test_customers_come_in_pages_and_alone(client: httpx.Client, service: EventsService) -> None:
    made = [
        event("paid", f"c-{who}", TODAY - (200 - (17 + who) * buy) * DAY + who, 10.0 + who)
        for who in range(60)
        for buy in range(1 + who % 6)
        if (17 + who) * buy < 199
    ]
    track(service, made)
    churn = get(client, "churn", event="paid", horizonDays=30, limit=10)
    assert churn["totalCustomers"] == 60
    assert len(churn["customers"]) == 10
    assert {"r", "alpha", "a", "b"} <= churn["model"]["parameters"].keys()
    more = get(client, "churn", event="paid", horizonDays=30, limit=10, pageToken=churn["nextPageToken"])
    first, second = ([each["user"]["id"] for each in page["customers"]] for page in (churn, more))
    assert not {*first} & {*second}
    value = get(client, "ltv", event="paid", horizonDays=30, userId=first[0])
    assert [each["user"] for each in value["customers"]] == [{"kind": "user", "id": first[0]}]
    assert client.get(PATH, params={"action": "ltv", "event": "paid", "userId": "x"}).status_code == 404


def test_predictions_are_kept_and_scored(client: httpx.Client) -> None:
    kept = {
        "predictionId": "mine/1",
        "type": "metric",
        "metric": {"name": "event_count", "labels": {"event": "sold", "a_b": "c"}, "interval": "day"},
        "period": {"startTime": iso(TODAY), "endTime": iso(TODAY + DAY)},
        "predicted": 100.0,
        "interval": {"levelRatio": 0.8, "lower": 90.0, "upper": 110.0},
        "model": "mine",
        "modelVersion": "1",
        "features": {"weather": ["rain"]},
    }
    saved = client.post(PATH, params={"action": "save"}, json=kept).json()["prediction"]
    assert saved["metric"]["labels"] == {"event": "sold", "a_b": "c"}
    assert saved["features"] == {"weather": ["rain"]}
    assert get(client, "accuracy")["pending"] == 1
    assert get(client, "list", onlyWithActual="true")["predictions"] == []
    body = {"predictionId": "mine/1", "actual": 80.0}
    scored = client.post(PATH, params={"action": "actual"}, json=body).json()["prediction"]
    assert scored["accuracyRatio"] == pytest.approx(0.8)
    selected = {
        "metric": "event_count",
        "label": ["event=sold", "a_b=c"],
        "type": "metric",
        "interval": "day",
    }
    [listed] = get(client, "list", onlyWithActual="true", **selected)["predictions"]
    assert listed["predictionId"] == "mine/1"
    assert get(client, "list", type="churn")["predictions"] == []
    [accuracy] = get(client, "accuracy", joinHorizons="true")["accuracies"]
    assert (accuracy["meanAbsoluteError"], accuracy["coveredRatio"], accuracy["bias"]) == (20, 0, 20)
    assert "horizon" not in accuracy


def test_everything_that_is_wrong_is_told_by_the_callers_names(client: httpx.Client) -> None:
    def asked(action: str, **given: object) -> set[str]:
        return fields(client.get(PATH, params={"action": action, **given}))  # type: ignore[dict-item]

    assert asked("revenue", level="x", horizon=0, interval="year") == {"level", "horizon", "interval"}
    assert asked("revenue", level=["2", "nan"]) == {"level"}
    wrong = {"level": 2, "timeZone": "Mars", "holiday": "soon", "closure": "never"}
    assert asked("metric", metric="dau", **wrong) == {"level", "timeZone", "holiday", "closure"}
    assert asked("anomalies", metric="dau", threshold=-1) == {"threshold"}
    assert asked("anomalies") == {"metric"}
    assert asked("churn", event="a", startEvent="b") == {"event"}
    assert asked("churn") == {"event"}
    assert asked("churn", startEvent="b") == {"endEvent"}
    assert asked("ltv", event="a", pageToken="x") == {"pageToken"}
    assert asked("list", modelVersion="x" * 101) == {"modelVersion"}
    save, actual = {"action": "save"}, {"action": "actual"}
    nothing = fields(client.post(PATH, params=save, json={"metric": {"labels": []}}))
    assert nothing == {"predicted", "metric.labels"}
    bad = {"predicted": 1, "type": "churn", "predictionId": "a b", "model": ""}
    assert {"predictionId", "period", "model", "modelVersion"} <= fields(
        client.post(PATH, params=save, json=bad)
    )
    assert fields(client.post(PATH, params=actual, json={"predictionId": "x"})) == {"actual"}
    unknown = client.post(PATH, params=actual, json={"predictionId": "x", "actual": 1})
    assert unknown.status_code == 404
    assert client.get(PATH, params={"action": "metric", "metric": "nonsense"}).status_code == 404


def test_roles_are_those_of_the_calls(predicting: Gateway) -> None:
    with predicting.client(Role.ANALYST) as client:
        assert client.get(PATH, params={"action": "list"}).status_code == 200
        body = {"predictionId": "x", "actual": 1}
        assert client.post(PATH, params={"action": "actual"}, json=body).status_code == 403
