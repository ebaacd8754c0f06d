import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from brain.common.v1.common_pb2 import Interval
from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2, predictions_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from google.protobuf.json_format import MessageToJson

from brain_client import tables
from brain_client.cli_session import Target, pairs

_ROLE = "admin"
_SHOWN = 20


@dataclass(frozen=True)
class _Service:
    """Where the forecasting service listens, and how to be let in."""

    address: str
    target: Target

    @contextmanager
    def calls(self) -> Iterator[ForecastingServiceStub]:
        with self.target.channel(self.address, _ROLE) as opened:
            yield ForecastingServiceStub(opened)


@click.group()
@click.option(
    "--forecasting-address",
    envvar="BRAIN_FORECASTING_ADDRESS",
    default="127.0.0.1:50054",
    show_default=True,
    show_envvar=True,
    help="Where the forecasting service listens.",
)
@click.pass_context
def forecast(context: click.Context, forecasting_address: str) -> None:
    """Forecast metrics, find anomalies, ask who leaves, see how good predictions were."""
    context.obj = _Service(forecasting_address, context.obj)


_json = click.option("--json", "as_json", is_flag=True, help="The whole answer as one JSON object.")
_interval = click.option(
    "--interval", type=click.Choice(["hour", "day", "week", "month"]), default="day", show_default=True
)
_horizon = click.option("--horizon", type=int, default=0, help="Points to forecast; the usual where absent.")
_zone = click.option("--zone", default="", help="IANA time zone; the deployment's where absent.")
_save = click.option("--save", "save_id", default="", help="Keep the predictions under this id.")
_label = click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
_source = click.option("--source", default="events", show_default=True)


@forecast.command()
@_interval
@_horizon
@_zone
@_save
@_json
@click.pass_obj
def revenue(service: _Service, /, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - options by name
    """Forecast revenue."""
    request = forecasts_pb2.PredictRevenueRequest(
        interval=_interval_of(asked), time_zone=asked["zone"], options=_options(asked)
    )
    with service.calls() as calls:
        _show_forecast(calls.PredictRevenue(request).forecast, as_json=as_json)


@forecast.command()
@click.argument("name")
@_source
@_label
@_interval
@_horizon
@_zone
@_save
@_json
@click.pass_obj
def metric(service: _Service, /, name: str, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as above
    """Forecast the metric NAME of any source."""
    request = forecasts_pb2.ForecastMetricRequest(metric=_metric(name, asked), options=_options(asked))
    with service.calls() as calls:
        _show_forecast(calls.ForecastMetric(request).forecast, as_json=as_json)


@forecast.command()
@click.argument("name")
@_source
@_label
@_interval
@_zone
@click.option(
    "--sensitivity", type=click.Choice(["low", "medium", "high"]), default="medium", show_default=True
)
@click.option("--zscore", type=float, help="The plain z-score with this threshold, as in older systems.")
@_json
@click.pass_obj
def anomalies(service: _Service, /, name: str, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as above
    """Say when the metric NAME was out of the ordinary lately."""
    options = anomalies_pb2.AnomalyOptions(
        sensitivity=anomalies_pb2.Sensitivity.Value(f"SENSITIVITY_{asked['sensitivity'].upper()}")
    )
    if asked["zscore"] is not None:
        options.method = anomalies_pb2.ANOMALY_METHOD_ZSCORE
        options.threshold = asked["zscore"]
    request = anomalies_pb2.DetectAnomaliesRequest(metric=_metric(name, asked), options=options)
    with service.calls() as calls:
        reply = calls.DetectAnomalies(request)
    if as_json:
        _print(reply)
        return
    tables.show([_anomaly_row(each, reply.time_zone) for each in reply.found.anomalies], as_json=False)
    rate = f"{reply.found.alerts_per_month:.2f} alerts a month on its own history"
    click.echo(rate if reply.found.HasField("alerts_per_month") else reply.found.reason)
    _warn(reply.found.warnings)


_events = click.argument("events", nargs=-1, required=True)
_days = click.option("--days", type=int, default=90, show_default=True, help="How far ahead.")


@forecast.command()
@_events
@_days
@_save
@_json
@click.pass_obj
def churn(service: _Service, /, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as above
    """Say who will buy nothing; EVENTS are the purchases."""
    request = customers_pb2.PredictChurnRequest(**_of_customers(asked))
    with service.calls() as calls:
        reply = calls.PredictChurn(request)
    if as_json:
        _print(reply)
        return
    tables.show([_churn_row(each) for each in reply.customers], as_json=False)
    click.echo(f"{reply.expected_churned:,.0f} of {reply.total_customers:,} are expected to leave.")
    if reply.HasField("hold_out"):
        scores = reply.hold_out
        click.echo(
            f"Hold-out: Brier {scores.brier:.3f} (telling everybody the same: {scores.brier_of_share:.3f}), "
            f"calibration error {scores.calibration_error:.3f}"
        )
    _warn(reply.warnings)


@forecast.command()
@_events
@_days
@_save
@_json
@click.pass_obj
def value(service: _Service, /, *, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - as above
    """Say who will spend most; EVENTS are the purchases."""
    request = customers_pb2.PredictLifetimeValueRequest(**_of_customers(asked))
    with service.calls() as calls:
        reply = calls.PredictLifetimeValue(request)
    if as_json:
        _print(reply)
        return
    tables.show([_value_row(each) for each in reply.customers], as_json=False)
    click.echo(f"{reply.total_customers:,} customers are expected to spend {reply.expected_value:,.2f}.")
    _warn(reply.warnings)


@forecast.command()
@click.option("--metric", "name", default="", help="Only of this metric.")
@_json
@click.pass_obj
def accuracy(service: _Service, /, name: str, *, as_json: bool) -> None:
    """Show how good kept predictions were."""
    request = predictions_pb2.GetPredictionAccuracyRequest(
        selection=predictions_pb2.PredictionSelection(metric=name), join_horizons=True
    )
    with service.calls() as calls:
        reply = calls.GetPredictionAccuracy(request)
    if as_json:
        _print(reply)
        return
    tables.show([_accuracy_row(each) for each in reply.accuracies], as_json=False)
    click.echo(f"{reply.pending:,} wait for what comes.")


def _interval_of(asked: Mapping[str, Any]) -> Interval.ValueType:
    return Interval.Value(f"INTERVAL_{asked['interval'].upper()}")


def _interval_name(interval: Interval.ValueType) -> str:
    return Interval.Name(interval).removeprefix("INTERVAL_").lower()


def _options(asked: Mapping[str, Any]) -> forecasts_pb2.MetricForecastOptions:
    return forecasts_pb2.MetricForecastOptions(
        options=forecasts_pb2.ForecastOptions(horizon=asked["horizon"]), save_id=asked["save_id"]
    )


def _metric(name: str, asked: Mapping[str, Any]) -> forecasts_pb2.MetricReference:
    return forecasts_pb2.MetricReference(
        source=asked["source"],
        name=name,
        labels=pairs(asked["labels"], "--label"),
        interval=_interval_of(asked),
        time_zone=asked["zone"],
    )


def _of_customers(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that questions about customers share."""
    return {
        "purchases": customers_pb2.PurchaseHistory(events=asked["events"]),
        "horizon_days": asked["days"],
        "page_size": _SHOWN,
        "save_id": asked["save_id"],
    }


def _churn_row(customer: customers_pb2.CustomerChurn) -> tables.Row:
    return {"user": customer.user.id, "churn": customer.churn_ratio, "purchases": customer.purchases}


def _value_row(customer: customers_pb2.CustomerValue) -> tables.Row:
    return {
        "user": customer.user.id,
        "expected_value": customer.expected_value,
        "expected_purchases": customer.expected_purchases,
        "spent": customer.spent,
    }


def _show_forecast(found: forecasts_pb2.Forecast, *, as_json: bool) -> None:
    if as_json:
        _print(found)
        return
    tables.show([_forecast_row(each, found.time_zone) for each in found.points], as_json=False)
    click.echo(f"{found.model}: {found.reason}")
    if found.HasField("back_test"):
        tested = found.back_test
        click.echo(
            f"Back-test over {tested.origins} origins: mean absolute error "
            f"{tested.model.mean_absolute_error:,.4g}, seasonal naive "
            f"{tested.seasonal_naive.mean_absolute_error:,.4g}"
        )
    _warn(found.warnings)


def _forecast_row(point: forecasts_pb2.ForecastPoint, zone: str) -> tables.Row:
    row: dict[str, object] = {"start": tables.instant(point.start_time, zone), "expected": point.expected}
    for interval in point.intervals:
        row[f"{interval.level_ratio:.0%}"] = f"{interval.lower:,.4g} to {interval.upper:,.4g}"
    return row


def _anomaly_row(anomaly: anomalies_pb2.Anomaly, zone: str) -> tables.Row:
    peak = anomaly.peak
    above = anomaly.direction == anomalies_pb2.ANOMALY_DIRECTION_UP
    return {
        "start": tables.instant(anomaly.start_time, zone),
        "points": anomaly.points,
        "direction": "up" if above else "down",
        "value": peak.value,
        "expected": peak.expected,
        "ordinary": json.dumps([round(peak.lower, 2), round(peak.upper, 2)]),
        "score": peak.score,
    }


def _accuracy_row(found: predictions_pb2.PredictionAccuracy) -> tables.Row:
    kind = predictions_pb2.PredictionType.Name(found.type).removeprefix("PREDICTION_TYPE_").lower()
    return {
        "type": kind,
        "metric": found.metric,
        "interval": _interval_name(found.interval) if found.interval else None,
        "model_version": found.model_version,
        "predictions": found.predictions,
        "mean_absolute_error": found.mean_absolute_error,
        "smape_ratio": found.smape_ratio,
        "mase": found.mase if found.HasField("mase") else None,
        "covered_ratio": found.covered_ratio if found.HasField("covered_ratio") else None,
        "bias": found.bias,
    }


def _print(message: Any) -> None:  # noqa: ANN401 - any answer
    click.echo(MessageToJson(message, preserving_proto_field_name=True, indent=None))


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(f"Note: {warning}")
