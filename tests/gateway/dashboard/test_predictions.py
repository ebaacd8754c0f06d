"""The tab Predictions over a real forecasting service: forecast, anomalies, kept predictions, customers."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from brain.common.v1 import common_pb2
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1 import predictions_pb2 as pb

from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.conftest import FORMULA, NOW, SCRIPT, minted
from tests.gateway.dashboard.serving import Site, gateway, proof_of
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAILY, DAY, stamp
from tests.services.forecasting.conftest import Service, running

TAB = f"{PREFIX}/predictions"
TODAY = int(NOW.timestamp() * 1e6) // DAY * DAY


@pytest.fixture
def forecasting(
    events_service: EventsService,
    forecasting_database: str,
    token_keys: tuple[bytes, bytes],
    dashboard_key_file: Path,
    tmp_path: Path,
) -> Iterator[Service]:
    token_file = tmp_path / "sources.token"
    token_file.write_text(minted(token_keys[0], Role.ANALYST))
    sources = {"events": f"127.0.0.1:{events_service.application.server.port}"}
    now = Clock(int(NOW.timestamp() * 1e6))
    with running(
        forecasting_database,
        now,
        token_keys[0],
        dashboard_key_file,
        metric_sources=sources,
        sources_token_file=token_file,
    ) as service:
        yield service


@pytest.fixture
def site(
    events_service: EventsService,
    forecasting: Service,
    dashboard_key_file: Path,
    token_for: Callable[..., str],
) -> Iterator[Site]:
    port = events_service.application.server.port
    address = f"127.0.0.1:{forecasting.application.server.port}"
    settings: dict[str, Any] = {"forecasting_address": address, "currency": "GBP", "call_seconds": 20}
    with gateway(port, dashboard_key_file, NOW.timestamp, **settings) as origin:
        yield Site(origin, token_for(Role.ADMIN))


def test_the_forecast_stands_with_its_interval_and_back_test(
    visitor: httpx.Client, forecasting: Service
) -> None:
    page = visitor.get(f"{TAB}?horizon=7").text
    # A purchase of 5 each day.
    assert "35 GBP expected in 7 days" in page
    assert "80 %: 35 GBP to 35 GBP" in page
    assert "95 % interval" in page
    assert 'class="band band-1"' in page
    assert "Seasonal naive" in page
    assert re.search(r"Forecast again from \d+ moments in the past, \d+ days ahead each", page)
    request = forecasts_pb2.PredictRevenueRequest(interval=DAILY)
    found = forecasting.forecasting.PredictRevenue(request).forecast
    assert f"{found.model}: " in page
    # The forecast begins today, which is not over.
    assert "<title>Fri 11 Nov 2011\n5 GBP expected" in page


@pytest.mark.parametrize("metric", ["dau", "aov", "arpu", "ltv"])
def test_people_and_means_are_not_added_up(visitor: httpx.Client, metric: str) -> None:
    page = visitor.get(f"{TAB}?metric={metric}&horizon=7").text
    assert "expected on Thu 17 Nov 2011" in page
    assert "in 7 days" not in page


def test_a_day_out_of_the_ordinary_is_marked_and_listed(visitor: httpx.Client) -> None:
    page = visitor.get(f"{TAB}?metric=event_count&event=visited").text
    assert "Thu 10 Nov 2011: 30, where " in page  # the mark in the chart
    row = page.partition("Deviations</th>")[2].partition("</tr>")[2].partition("</tr>")[0]
    assert "Thu 10 Nov 2011" in row
    assert "above" in row
    assert re.search(r"This setting speaks [\d.]+ times a month", page)
    before = visitor.get(f"{TAB}?metric=event_count&event=visited&range=custom&from=2011-10-01&to=2011-11-09")
    assert "Nothing out of the ordinary on these days." in before.text
    assert "As it would have been said at the end of the days shown." in before.text
    assert "/predictions/keep" not in before.text


def test_cards_mark_the_day_and_insights_tell_it(visitor: httpx.Client) -> None:
    page = visitor.get(f"{PREFIX}/events").text
    assert "<title>Thu 10 Nov 2011: out of the ordinary</title>" in page
    told = r"users on Thu 10 Nov 2011: 30, where \d+ to \d+ would be ordinary \([\d.]+ deviations\)"
    assert re.search(told, page)
    assert f'href="{TAB}?range=30d&amp;zone=UTC&amp;metric=dau"' in page
    # Not said twice.
    assert "Daily active users on Thu 10 Nov 2011: 30, more than on each" not in page
    assert "are not marked" not in page


def test_weeks_are_forecast_too(visitor: httpx.Client) -> None:
    page = visitor.get(f"{TAB}?interval=week&horizon=7").text
    assert "expected in 7 weeks" in page
    assert "week of Mon 7 Nov 2011" in page


def keep(visitor: httpx.Client, page: str, **changed: str) -> httpx.Response:
    save_id = page.partition('name="save_id" value="')[2].partition('"')[0]
    return visitor.post(
        f"{TAB}/keep?horizon=7", data={"proof": proof_of(page), "save_id": save_id, **changed}
    )


def test_a_forecast_is_kept_once(visitor: httpx.Client, forecasting: Service) -> None:
    page = visitor.get(f"{TAB}?horizon=7").text
    assert "No kept forecast of revenue about these days has come due" in page
    for kept in (7, 0):
        done = keep(visitor, page)
        assert done.status_code == 303
        assert f"{kept} predictions kept" in visitor.get(done.headers["location"]).text
    listed = forecasting.forecasting.ListPredictions(pb.ListPredictionsRequest()).predictions
    assert len(listed) == 7
    assert keep(visitor, page, proof="forged").status_code == 403
    assert "save_id: must be" in visitor.get(keep(visitor, page, save_id="a b").headers["location"]).text


def save(service: Service, days_ago: int, horizon: int, predicted: float, actual: float) -> None:
    start = TODAY - days_ago * DAY
    identity = f"p-{days_ago}-{horizon}"
    service.forecasting.SavePrediction(
        pb.SavePredictionRequest(
            prediction=pb.Prediction(
                prediction_id=identity,
                type=pb.PREDICTION_TYPE_REVENUE,
                metric=forecasts_pb2.MetricReference(name="revenue", interval=common_pb2.INTERVAL_DAY),
                period=common_pb2.TimeRange(start_time=stamp(start), end_time=stamp(start + DAY)),
                predicted=predicted,
                interval=forecasts_pb2.ForecastInterval(
                    level_ratio=0.8, lower=predicted - 1, upper=predicted + 1
                ),
                horizon=horizon,
                model="mine",
                model_version="v1",
            )
        )
    )
    service.forecasting.RecordActual(pb.RecordActualRequest(prediction_id=identity, actual=actual))


def test_what_was_said_last_stands_beside_what_came(visitor: httpx.Client, forecasting: Service) -> None:
    save(forecasting, 3, 1, 4.5, 5)
    save(forecasting, 3, 9, 40, 5)
    save(forecasting, 2, 2, 8, 5)
    page = visitor.get(TAB).text
    part = page.partition('id="predicted-title"')[2]
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in part.split("<tr>")[2:4]]
    assert rows[0][:4] == ["Wed 9 Nov 2011", "8 GBP", "5 GBP", "3 GBP"]
    assert rows[1][:4] == ["Tue 8 Nov 2011", "4.50 GBP", "5 GBP", "0.500 GBP"]
    assert (rows[0][-1], rows[1][-1]) == ("no", "yes")
    # All three are scored: (0.5 + 35 + 3) / 3.
    assert "12.8 GBP" in part
    assert "33.3 % of 80.0 %" in part


def test_customers_are_a_part_of_their_own(visitor: httpx.Client) -> None:
    page = visitor.get(TAB).text
    assert f'hx-get="{TAB}/customers?' in page
    part = visitor.get(f"{TAB}/customers?range=30d").text
    assert "<option selected>bought</option>" in part
    assert "0 of 1 customers are expected to buy nothing within 90 days" in part
    # One customer who bought every day says nothing of what others will spend.
    assert "The forecasting service answered: customers differ too little" in part
    assert visitor.get(f"{TAB}/customers?days=12").status_code == 400


def test_the_forecast_goes_out_as_a_table(visitor: httpx.Client) -> None:
    answer = visitor.get(f"{TAB}/forecast.csv?horizon=7")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    ahead = [row for row in rows if row["kind"] == "forecast"]
    assert len(ahead) == 7
    assert [row["value"] for row in rows if row["kind"] == "history"][-1] == "5.0"
    assert ahead[0]["start_time"] == "2011-11-11T00:00:00+00:00"
    assert (ahead[0]["level_ratio_1"], ahead[0]["level_ratio_2"]) == ("0.8", "0.95")
    total = sum(float(ahead[0][name]) for name in ("level", "trend", "season", "holiday"))
    assert total == pytest.approx(float(ahead[0]["value"]), abs=0.01)


def test_names_are_shown_as_text(visitor: httpx.Client) -> None:
    page = visitor.get(TAB, params={"metric": "event_count", "event": SCRIPT}).text
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    named = visitor.get(f"{TAB}/forecast.csv", params={"metric": FORMULA})
    assert named.status_code == 404


def test_what_is_wrong_is_told(visitor: httpx.Client) -> None:
    assert "events has no metric" in visitor.get(f"{TAB}?metric=nonsense").text
    for wrong in ("interval=hour", "horizon=8", "sensitivity=x", f"metric={'x' * 201}"):
        assert visitor.get(f"{TAB}?{wrong}").status_code == 400


def test_a_service_that_is_away_is_told_in_its_own_place(
    events_service: EventsService,
    forecasting: Service,
    dashboard_key_file: Path,
    token_for: Callable[..., str],
) -> None:
    port = events_service.application.server.port
    address = f"127.0.0.1:{forecasting.application.server.port}"
    settings: dict[str, Any] = {"forecasting_address": address, "call_seconds": 3}
    with (
        gateway(port, dashboard_key_file, NOW.timestamp, **settings) as origin,
        Site(origin, token_for(Role.ADMIN)).signed_in() as visitor,
    ):
        forecasting.application.stop()
        page = visitor.get(TAB).text
        file = visitor.get(f"{TAB}/forecast.csv")
    assert page.count('<div class="trouble"') == 3
    assert "Days out of the ordinary are not marked." in page
    assert "The forecasting service does not answer at the moment." in page
    assert "Daily active users" in page
    assert file.status_code in {503, 504}


def test_without_an_address_the_tab_says_which_setting_is_missing(
    events_service: EventsService, dashboard_key_file: Path, token_for: Callable[..., str]
) -> None:
    port = events_service.application.server.port
    with (
        gateway(port, dashboard_key_file, NOW.timestamp) as origin,
        Site(origin, token_for(Role.ANALYST)).signed_in() as visitor,
    ):
        page = visitor.get(TAB).text
    assert "GATEWAY_FORECASTING_ADDRESS" in page
    assert "are not marked" not in page
