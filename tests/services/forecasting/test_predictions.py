"""Predictions that are kept, and what comes of them when the clock moves on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import pytest
from brain.audit.v1 import audit_pb2
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1 import predictions_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from services.forecasting.predictions.actuals import AGAIN_MICROS, GIVE_UP_MICROS
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAILY, DAY, TODAY, sell, stamp, weekly
from tests.services.forecasting.conftest import Service

HOUR = DAY // 24
ACTUAL = [50, 0, 21]  # sales on the three days after the forecast
REVENUE = forecasts_pb2.MetricReference(source="events", name="revenue", interval=DAILY, time_zone="UTC")


def period(start: int, days: int = 1) -> common_pb2.TimeRange:
    return common_pb2.TimeRange(start_time=stamp(start), end_time=stamp(start + days * DAY))


def prediction(prediction_id: str = "p", **changes: object) -> pb.Prediction:
    made = {
        "prediction_id": prediction_id,
        "type": pb.PREDICTION_TYPE_METRIC,
        "target": "visits of the fair",
        "period": period(TODAY),
        "predicted": 80.0,
        "model": "by hand",
        "model_version": "1",
    }
    return pb.Prediction(**made | changes)  # type: ignore[arg-type]


def save(service: Service, made: pb.Prediction) -> pb.Prediction:
    return service.forecasting.SavePrediction(pb.SavePredictionRequest(prediction=made)).prediction


def listed(service: Service, **selection: object) -> list[pb.Prediction]:
    request = pb.ListPredictionsRequest(selection=pb.PredictionSelection(**selection))  # type: ignore[arg-type]
    return list(service.forecasting.ListPredictions(request).predictions)


def forecast_week(service: Service, save_id: str) -> forecasts_pb2.PredictRevenueResponse:
    options = forecasts_pb2.MetricForecastOptions(
        options=forecasts_pb2.ForecastOptions(horizon=7), save_id=save_id
    )
    return service.forecasting.PredictRevenue(forecasts_pb2.PredictRevenueRequest(options=options))


def three_days_later(service: Service, events: EventsService, clock: Clock) -> list[pb.Prediction]:
    """Keep a week's forecast, let three of its days pass; return what was said of these, with what came."""
    sell(events, [each + at * 7_919 % 5 for at, each in enumerate(weekly(56))])
    forecast_week(service, "week-46")
    clock.micros = TODAY + 3 * DAY + 2 * HOUR
    sell(events, ACTUAL, TODAY + 3 * DAY)
    service.application.actuals.step()
    return [each for each in listed(service) if each.HasField("actual")][::-1]


def test_each_point_of_a_forecast_is_kept(service: Service, events: EventsService) -> None:
    sell(events, [each + at * 7_919 % 5 for at, each in enumerate(weekly(56))])
    made = forecast_week(service, "week-46")
    assert made.saved_predictions == 7
    kept = listed(service, type=pb.PREDICTION_TYPE_REVENUE)
    assert [each.prediction_id for each in kept] == [f"week-46/{day}" for day in range(7, 0, -1)]
    assert [each.predicted for each in reversed(kept)] == [each.expected for each in made.forecast.points]
    assert {each.confidence_ratio for each in kept} == {made.forecast.back_test.coverage[0].covered_ratio}


def test_actual_values_come_when_their_day_is_over(
    service: Service, events: EventsService, clock: Clock
) -> None:
    came = three_days_later(service, events, clock)
    assert [each.actual for each in came] == [2.5 * each for each in ACTUAL]
    for each in came:
        larger = max(each.predicted, each.actual)
        assert each.accuracy_ratio == pytest.approx(1 - abs(each.predicted - each.actual) / larger)
    clock.micros = TODAY + 4 * DAY + HOUR // 2  # the fourth day is over, its hour of grace is not
    service.application.actuals.step()
    assert len([each for each in listed(service) if each.HasField("actual")]) == 3


def test_accuracy_is_told_as_counted_by_hand(service: Service, events: EventsService, clock: Clock) -> None:
    came = three_days_later(service, events, clock)
    reply = service.forecasting.GetPredictionAccuracy(pb.GetPredictionAccuracyRequest(join_horizons=True))
    [found] = reply.accuracies
    errors = [each.predicted - each.actual for each in came]
    assert (found.type, found.source, found.metric) == (pb.PREDICTION_TYPE_REVENUE, "events", "revenue")
    assert (found.predictions, reply.pending, found.HasField("horizon")) == (3, 4, False)
    assert found.mean_absolute_error == pytest.approx(sum(map(abs, errors)) / 3)
    assert found.bias == pytest.approx(sum(errors) / 3)
    assert found.mase == pytest.approx(sum(abs(e) / c.scale for e, c in zip(errors, came, strict=True)) / 3)
    assert found.smape_ratio == pytest.approx(
        sum(2 * abs(each.predicted - each.actual) / (each.predicted + each.actual) for each in came) / 3
    )
    inside = [each.interval.lower <= each.actual <= each.interval.upper for each in came]
    assert found.covered_ratio == pytest.approx(sum(inside) / 3)
    assert found.level_ratio == pytest.approx(0.8)
    apart = service.forecasting.GetPredictionAccuracy(pb.GetPredictionAccuracyRequest()).accuracies
    assert [(each.horizon, each.predictions) for each in apart] == [(1, 1), (2, 1), (3, 1)]


def test_days_and_weeks_are_scored_apart(service: Service) -> None:
    monday = TODAY + 2 * DAY
    for days, interval in ((1, DAILY), (7, common_pb2.INTERVAL_WEEK)):
        metric = forecasts_pb2.MetricReference(name="revenue", interval=interval)
        save(service, prediction(f"p-{days}", metric=metric, period=period(monday, days)))
        request = pb.RecordActualRequest(prediction_id=f"p-{days}", actual=80.0 + days)
        service.forecasting.RecordActual(request)
    reply = service.forecasting.GetPredictionAccuracy(pb.GetPredictionAccuracyRequest())
    assert [(each.interval, each.mean_absolute_error) for each in reply.accuracies] == [
        (DAILY, 1),
        (common_pb2.INTERVAL_WEEK, 7),
    ]


def test_asking_again_under_one_id_keeps_nothing_more(service: Service, events: EventsService) -> None:
    sell(events, weekly(28))
    first, again = forecast_week(service, "w"), forecast_week(service, "w")
    assert (first.saved_predictions, again.saved_predictions) == (7, 0)
    assert again.forecast == first.forecast
    request = forecasts_pb2.PredictDemandRequest(
        event="sold", options=forecasts_pb2.MetricForecastOptions(save_id="w")
    )
    refused = refusal(lambda: service.forecasting.PredictDemand(request))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SAVE_ID_TAKEN")
    entries = service.audit.ListAuditEntries(audit_pb2.ListAuditEntriesRequest()).entries
    assert [(each.actor, each.action, each.subject) for each in entries[:1]] == [
        ("test", "SavePredictions", "w")
    ]


def test_replicas_share_the_work(
    service: Service,
    start_service: Callable[..., Service],
    sources: dict[str, object],
    events: EventsService,
    clock: Clock,
) -> None:
    replicas = [service, start_service(**sources)]
    sell(events, weekly(28))
    for number in range(5):
        forecast_week(service, f"w{number}")
    clock.micros = TODAY + 8 * DAY
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda replica: replica.application.actuals.step(), replicas))
    assert sum(done) == 35  # nobody takes what the other has claimed
    assert sum(each.application.actuals.step() for each in replicas) == 0
    assert len([each for each in listed(service) if each.HasField("actual")]) == 35


def test_a_source_that_is_away_is_asked_again(
    service: Service, events: EventsService, clock: Clock, start_service: Callable[..., Service]
) -> None:
    blind = start_service()  # knows no source
    sell(events, weekly(28))
    forecast_week(service, "w")
    clock.micros = TODAY + 8 * DAY
    assert blind.application.actuals.step() == 7
    assert not any(each.HasField("actual") for each in listed(service))
    clock.micros += AGAIN_MICROS
    assert service.application.actuals.step() == 7
    assert all(each.HasField("actual") for each in listed(service))


def test_what_never_comes_is_given_up(service: Service, events: EventsService, clock: Clock) -> None:
    metric = forecasts_pb2.MetricReference(name="aov", interval=DAILY)  # undefined without orders
    save(service, prediction(metric=metric, target=""))
    clock.micros = TODAY + 2 * DAY
    assert service.application.actuals.step() == 1
    clock.micros = TODAY + GIVE_UP_MICROS + 2 * DAY
    assert [service.application.actuals.step() for _ in range(2)] == [1, 0]
    clock.micros += DAY
    assert service.application.actuals.step() == 0
    assert service.forecasting.GetPredictionAccuracy(pb.GetPredictionAccuracyRequest()).pending == 1


def test_a_prediction_comes_back_as_it_was_saved(alone: Service, clock: Clock) -> None:
    features = Struct()
    features.update({"weather": "rain", "stands": 12})
    made = prediction(
        user=events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="ana"),
        features=features,
        interval=forecasts_pb2.ForecastInterval(level_ratio=0.8, lower=60, upper=110),
        confidence_ratio=0.7,
        horizon=3,
        scale=4.0,
    )
    kept = save(alone, made)
    assert kept.created_time.ToMicroseconds() == clock.micros
    kept.ClearField("created_time")
    assert kept == made
    assert save(alone, made).prediction_id == "p"
    made.predicted = 81
    refused = refusal(lambda: save(alone, made))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "PREDICTION_ALREADY_EXISTS")
    entries = alone.audit.ListAuditEntries(audit_pb2.ListAuditEntriesRequest()).entries
    assert [each.action for each in entries].count("SavePrediction") == 1


def test_ids_of_people_are_not_readable_in_the_database(alone: Service) -> None:
    user = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="ana@example.org")
    save(alone, prediction(user=user))
    save(alone, prediction("q", user=events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="ben")))
    assert [each.prediction_id for each in listed(alone, user=user)] == ["p"]
    with alone.engine.begin() as connection:
        stored = connection.exec_driver_sql("SELECT users::text, predictions::text FROM users, predictions")
        assert not [row for row in stored if "ana" in "".join(row)]


def test_recording_says_how_good_it_was_and_may_be_corrected(alone: Service) -> None:
    save(alone, prediction())
    for actual, good in ((100.0, 0.8), (-5.0, 0.0), (80.0, 1.0)):
        request = pb.RecordActualRequest(prediction_id="p", actual=actual)
        kept = alone.forecasting.RecordActual(request).prediction
        assert kept.actual == actual
        assert kept.accuracy_ratio == pytest.approx(good)
    nothing = pb.RecordActualRequest(prediction_id="p")
    assert refusal(lambda: alone.forecasting.RecordActual(nothing)).fields.keys() == {"actual"}
    unknown = pb.RecordActualRequest(prediction_id="nobody", actual=1)
    assert refusal(lambda: alone.forecasting.RecordActual(unknown)).code is grpc.StatusCode.NOT_FOUND


def test_what_somebody_recorded_is_not_replaced(
    service: Service, events: EventsService, clock: Clock
) -> None:
    sell(events, weekly(28))
    forecast_week(service, "w")
    service.forecasting.RecordActual(pb.RecordActualRequest(prediction_id="w/1", actual=77.0))
    with service.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE predictions SET check_time = period_end")
    clock.micros = TODAY + 8 * DAY
    service.application.actuals.step()
    assert {each.prediction_id: each.actual for each in listed(service)}["w/1"] == 77.0


def test_pages_go_through_everything_once(alone: Service) -> None:
    for number in range(7):
        save(alone, prediction(f"p-{number}", period=period(TODAY + (number % 3) * DAY)))
    request, found = pb.ListPredictionsRequest(page_size=2), []
    while True:
        page = alone.forecasting.ListPredictions(request)
        found += [each.prediction_id for each in page.predictions]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert found == ["p-2", "p-5", "p-1", "p-4", "p-0", "p-3", "p-6"]


BAD: list[tuple[dict[str, object], str]] = [
    ({"prediction_id": ""}, "prediction.prediction_id"),
    ({"prediction_id": "a b"}, "prediction.prediction_id"),
    ({"type": 0}, "prediction.type"),
    ({"type": 99}, "prediction.type"),
    ({"target": ""}, "prediction"),
    ({"target": "a\0"}, "prediction.target"),
    ({"period": None}, "prediction.period"),
    ({"period": period(TODAY, 0)}, "prediction.period.end_time"),
    ({"predicted": None}, "prediction.predicted"),
    ({"predicted": float("nan")}, "prediction.predicted"),
    ({"predicted": 1e200}, "prediction.predicted"),
    ({"type": pb.PREDICTION_TYPE_CHURN, "predicted": 1.5}, "prediction.predicted"),
    ({"confidence_ratio": 1.1}, "prediction.confidence_ratio"),
    ({"scale": 0.0}, "prediction.scale"),
    ({"horizon": -1}, "prediction.horizon"),
    ({"model": ""}, "prediction.model"),
    ({"actual": 1.0}, "prediction.actual"),
    ({"user": events_pb2.UserReference(id="x")}, "prediction.user.kind"),
    (
        {"interval": forecasts_pb2.ForecastInterval(level_ratio=0.8, lower=2, upper=1)},
        "prediction.interval",
    ),
    ({"metric": REVENUE, "period": period(TODAY, 2)}, "prediction.period"),
    ({"metric": forecasts_pb2.MetricReference(name="revenue")}, "prediction.metric.interval"),
]


def test_bad_predictions_are_refused_by_field(alone: Service) -> None:
    for changes, field in BAD:
        refused = refusal(partial(save, alone, prediction(**changes)))  # type: ignore[arg-type]
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert field in refused.fields
