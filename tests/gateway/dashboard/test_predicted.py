"""What the tab Predictions makes of answers, without any service."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from brain.common.v1 import common_pb2
from brain.events.v1.events_pb2 import TopEvent
from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2
from brain.forecasting.v1 import predictions_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricDescriptor

from gateway.dashboard.overview import unusual_days
from gateway.dashboard.page.answers import Failure
from gateway.dashboard.page.scope import Scope
from gateway.dashboard.predictions import anomalies, asking, customers, forecasts, predicted
from gateway.dashboard.predictions.asking import Choice
from gateway.dashboard.predictions.readings import Reading
from shared.validation import Violations
from tests.services.forecasting.asking import DAY, stamp

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2011, 11, 11, 8, tzinfo=UTC)
SCOPE = Scope("7d", date(2011, 11, 5), date(2011, 11, 11), ZONE, compare=False, now=NOW)
GBP = Reading(Choice(), SCOPE, "currency", "GBP")


def said(day: int, horizon: int, created: int, value: float) -> pb.Prediction:
    return pb.Prediction(
        period=common_pb2.TimeRange(start_time=stamp(day * DAY)),
        horizon=horizon,
        created_time=stamp(created),
        predicted=value,
    )


def test_what_was_said_last_of_a_day_counts() -> None:
    every = [said(2, 1, 5, 1), said(1, 9, 9, 2), said(1, 2, 3, 3), said(1, 2, 4, 4), said(2, 1, 4, 5)]
    assert [one.predicted for one in predicted.last_said(every)] == [4, 1]


def test_metrics_that_need_more_than_an_event_are_not_offered() -> None:
    day = [common_pb2.INTERVAL_DAY]
    metrics = [
        MetricDescriptor(name="dau", intervals=day),
        MetricDescriptor(name="event_count", intervals=day, required_labels=["event"]),
        MetricDescriptor(name="conversion_ratio", intervals=day, required_labels=["start", "end"]),
        MetricDescriptor(name="monthly", intervals=[common_pb2.INTERVAL_MONTH]),
    ]
    found = asking.offered(metrics, [TopEvent(event="often"), TopEvent(event="seldom")])
    assert found.metrics == ("dau", "event_count")
    assert asking.settled(Choice(metric="event_count"), found).labels == {"event": "often"}
    assert asking.settled(Choice(metric="dau", event="often"), found).labels == {}


def test_purchases_are_what_earns_most() -> None:
    sold, given = TopEvent(event="sold", value_sum=5), TopEvent(event="given", value_sum=-9)
    assert asking.purchases([given, sold]) == "sold"
    assert asking.purchases([given]) == ""


def test_a_choice_survives_its_address() -> None:
    asked = {"metric": "dau", "interval": "week", "horizon": "7", "sensitivity": "low", "days": "30"}
    assert asking.read(Violations(), asked).parameters() == asked
    assert asking.read(Violations(), {}).parameters() == {}
    violations = Violations()
    asking.read(violations, dict.fromkeys(("interval", "horizon", "sensitivity", "days"), "?"))
    assert len(violations) == 4


def test_days_that_have_passed_are_told_as_they_were_known_then() -> None:
    past = Scope("custom", date(2011, 11, 5), date(2011, 11, 10), ZONE, compare=False, now=NOW)
    moment = asking.as_of(past)
    assert moment is not None
    assert moment.ToDatetime(UTC).astimezone(ZONE) == datetime(2011, 11, 11, tzinfo=ZONE)
    assert asking.as_of(SCOPE) is None


def test_small_numbers_keep_their_fractions_and_ratios_are_percent() -> None:
    assert [GBP.number(value) for value in (0.5, 12.0, 1234.5)] == ["0.500 GBP", "12 GBP", "1,234 GBP"]
    assert Reading(Choice(), SCOPE, "ratio", "GBP").number(0.123) == "12.3 %"


def test_a_run_of_days_is_one_line_with_both_ends() -> None:
    start = int(datetime(2011, 11, 8, tzinfo=ZONE).timestamp() * 1e6)
    peak = anomalies_pb2.JudgedPoint(value=1, expected=9, lower=5, upper=12, score=-4.25)
    found = anomalies_pb2.Anomalies(
        anomalies=[
            anomalies_pb2.Anomaly(
                start_time=stamp(start),
                end_time=stamp(start + 2 * DAY),
                direction=anomalies_pb2.ANOMALY_DIRECTION_DOWN,
                peak=peak,
                points=2,
            )
        ],
        reason="too short",
    )
    view = anomalies.unusual(found, GBP)
    assert (view.told[0].when, view.told[0].direction, view.told[0].score) == (
        "8 Nov to 9 Nov 2011",
        "down",
        "4.2",
    )
    assert view.rate == "Nothing could be judged: too short."


def test_what_cannot_be_tried_shows_no_back_test() -> None:
    point = forecasts_pb2.ForecastPoint(start_time=stamp(0), expected=3)
    answer = forecasts_pb2.ForecastMetricResponse(forecast=forecasts_pb2.Forecast(points=[point]))
    view = forecasts.shown(answer, GBP, None)
    assert (view.tested, view.tested_note) == ((), "")


def test_values_of_nobody_divide_nothing() -> None:
    view = customers.value(customers_pb2.PredictLifetimeValueResponse(), 90, "GBP")
    assert view.lead == "0 GBP expected of 0 customers within 90 days"
    assert view.bands == ()


def test_too_little_history_is_no_trouble_and_a_service_away_is() -> None:
    answers = [Failure("no history", 409), Failure("not connected", 501)]
    assert unusual_days.judged(["dau", "revenue"], answers, SCOPE).trouble == ""
    assert unusual_days.judged(["dau"], [Failure("away", 503)], SCOPE).trouble == "away"
