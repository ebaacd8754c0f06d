"""`brain alerts`: make alerts, see what fires and why, silence, test, replay."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TextIO

import click
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1.common_pb2 import TimeRange
from google.protobuf.json_format import MessageToJson, Parse, ParseError

from brain_client import tables
from brain_client.alert_rows import alert_row, delivery_row, entry_row, test_row, word
from brain_client.cli_session import Target, moment, pairs
from brain_client.event import timestamp

_PAGE = 1_000
_DEFAULT_PAST = timedelta(days=30)


@dataclass(frozen=True)
class _Service:
    """Where the alerts service listens, and how to be let in."""

    address: str
    target: Target

    @contextmanager
    def calls(self) -> Iterator[AlertsServiceStub]:
        with self.target.channel(self.address, "admin") as opened:
            yield AlertsServiceStub(opened)


@click.group()
@click.option(
    "--alerts-address",
    envvar="BRAIN_ALERTS_ADDRESS",
    default="127.0.0.1:50055",
    show_default=True,
    show_envvar=True,
    help="Where the alerts service listens.",
)
@click.pass_context
def alerts(context: click.Context, alerts_address: str) -> None:
    """Watch metrics: make alerts, see what fires and why, silence, test, replay."""
    context.obj = _Service(alerts_address, context.obj)


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
_id = click.argument("alert_id", metavar="ID")


@alerts.command("list")
@click.option("--firing", is_flag=True, help="Only those that fire.")
@_json
@click.pass_obj
def list_command(service: _Service, /, *, firing: bool, as_json: bool) -> None:
    """List alerts, those that fire first."""
    request = pb.ListAlertsRequest(page_size=_PAGE)
    if firing:
        request.conditions.extend([alert_pb2.CONDITION_STATE_FIRING, alert_pb2.CONDITION_STATE_RECOVERING])
    rows: list[tables.Row] = []
    with service.calls() as calls:
        while True:
            reply = calls.ListAlerts(request)
            rows += map(alert_row, reply.alerts)
            request.page_token = reply.next_page_token
            if not request.page_token:
                break
    tables.show(rows, as_json=as_json)


@alerts.command()
@_id
@click.argument("definition", type=click.File())
@click.pass_obj
def create(service: _Service, /, alert_id: str, definition: TextIO) -> None:
    """Make the alert ID from a file with an AlertDefinition as JSON ("-" reads standard input)."""
    request = pb.CreateAlertRequest(alert_id=alert_id, definition=_definition(definition))
    with service.calls() as calls:
        reply = calls.CreateAlert(request)
    _tell(reply.alert, list(reply.warnings))


@alerts.command()
@_id
@click.argument("definition", type=click.File())
@click.pass_obj
def update(service: _Service, /, alert_id: str, definition: TextIO) -> None:
    """Replace the definition of ID; it begins anew."""
    request = pb.UpdateAlertRequest(alert_id=alert_id, definition=_definition(definition))
    with service.calls() as calls:
        reply = calls.UpdateAlert(request)
    _tell(reply.alert, list(reply.warnings))


@alerts.command()
@_id
@click.pass_obj
def show(service: _Service, /, alert_id: str) -> None:
    """Print the alert ID as JSON, its definition included."""
    with service.calls() as calls:
        found = calls.GetAlert(pb.GetAlertRequest(alert_id=alert_id)).alert
    click.echo(MessageToJson(found, preserving_proto_field_name=True))


@alerts.command()
@_id
@click.pass_obj
def pause(service: _Service, /, alert_id: str) -> None:
    """Look no more at the metric of ID."""
    with service.calls() as calls:
        _tell(calls.PauseAlert(pb.PauseAlertRequest(alert_id=alert_id)).alert, [])


@alerts.command()
@_id
@click.pass_obj
def resume(service: _Service, /, alert_id: str) -> None:
    """Look at the metric of ID again."""
    with service.calls() as calls:
        _tell(calls.ResumeAlert(pb.ResumeAlertRequest(alert_id=alert_id)).alert, [])


@alerts.command()
@_id
@click.pass_obj
def delete(service: _Service, /, alert_id: str) -> None:
    """Delete ID with its history."""
    with service.calls() as calls:
        calls.DeleteAlert(pb.DeleteAlertRequest(alert_id=alert_id))
    click.echo(f"{alert_id} is deleted")


@alerts.command()
@_id
@click.pass_obj
def acknowledge(service: _Service, /, alert_id: str) -> None:
    """Take care of ID: receivers hear no repeats until it is over."""
    with service.calls() as calls:
        found = calls.AcknowledgeAlert(pb.AcknowledgeAlertRequest(alert_id=alert_id)).alert
    click.echo(f"{alert_id}: {found.state.acknowledged_by} takes care of episode {found.state.episode}")


@alerts.command()
@_id
@_json
@click.pass_obj
def test(service: _Service, /, alert_id: str, *, as_json: bool) -> None:
    """Tell every recipient of ID a test, and show what each answered."""
    with service.calls() as calls:
        results = calls.TestAlert(pb.TestAlertRequest(alert_id=alert_id)).results
    tables.show(list(map(test_row, results)), as_json=as_json)


@alerts.command()
@_id
@click.option("--changes", is_flag=True, help="Only what changed its state, or was told.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, _PAGE))
@_json
@click.pass_obj
def history(service: _Service, /, alert_id: str, *, changes: bool, limit: int, as_json: bool) -> None:
    """Show why ID fired or did not, newest first."""
    request = pb.ListAlertHistoryRequest(alert_id=alert_id, changes_only=changes, page_size=limit)
    with service.calls() as calls:
        entries = calls.ListAlertHistory(request).entries
    tables.show([entry_row(each) for each in entries], as_json=as_json)


@alerts.command()
@click.option("--alert", "alert_id", default="", help="Only of this alert.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, _PAGE))
@_json
@click.pass_obj
def deliveries(service: _Service, /, alert_id: str, *, limit: int, as_json: bool) -> None:
    """Show what was told to whom, newest first."""
    request = pb.ListDeliveriesRequest(alert_id=alert_id, page_size=limit)
    with service.calls() as calls:
        found = calls.ListDeliveries(request).deliveries
    tables.show(list(map(delivery_row, found)), as_json=as_json)


@alerts.command()
@click.argument("definition", type=click.File())
@click.option("--start", help="ISO 8601; 30 days before the end where absent.")
@click.option("--end", help="ISO 8601; now where absent.")
@click.pass_obj
def preview(service: _Service, /, definition: TextIO, start: str | None, end: str | None) -> None:
    """Say when a definition (JSON, as `create` takes it) would have fired."""
    until = moment(end) if end else datetime.now(UTC)
    since = moment(start) if start else until - _DEFAULT_PAST
    time_range = TimeRange(start_time=timestamp(since), end_time=timestamp(until))
    request = pb.PreviewAlertRequest(definition=_definition(definition), time_range=time_range)
    with service.calls() as calls:
        found = calls.PreviewAlert(request)
    for episode in found.episodes:
        over = f"to {episode.resolved_time.ToJsonString()}" if episode.HasField("resolved_time") else "on"
        click.echo(f"fires from {episode.fired_time.ToJsonString()} {over}")
    rate = f", {found.episodes_per_30_days:.3g} in 30 days" if found.HasField("episodes_per_30_days") else ""
    click.echo(f"{len(found.episodes)} episodes in {found.judged_windows} judged windows{rate}")


@alerts.command()
@_json
@click.pass_obj
def rules(service: _Service, /, *, as_json: bool) -> None:
    """List ready-made rules; `rule` prints one to start from."""
    with service.calls() as calls:
        found = calls.ListReadyMadeRules(pb.ListReadyMadeRulesRequest()).rules
    rows = [
        {
            "rule": each.rule_id,
            "description": each.description,
            "fill_in": ", ".join(each.missing_labels) or None,
        }
        for each in found
    ]
    tables.show(rows, as_json=as_json)


@alerts.command()
@click.argument("rule_id", metavar="RULE")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Of the metric; may be repeated."
)
@click.pass_obj
def rule(service: _Service, /, rule_id: str, labels: tuple[str, ...]) -> None:
    """Print the definition of a ready-made RULE as JSON, for `preview` and `create`."""
    with service.calls() as calls:
        found = calls.ListReadyMadeRules(pb.ListReadyMadeRulesRequest()).rules
    chosen = next((each for each in found if each.rule_id == rule_id), None)
    if chosen is None:
        raise click.UsageError(f"there is {', '.join(each.rule_id for each in found)}")
    given = pairs(labels, "--label")
    missing = [name for name in chosen.missing_labels if name not in given]
    if missing:
        raise click.UsageError(f"give --label {missing[0]}=…")
    chosen.definition.metric.labels.update(given)
    click.echo(MessageToJson(chosen.definition, preserving_proto_field_name=True))


@alerts.command()
@click.option("--alert", "alert_ids", multiple=True, help="May be repeated; without any, and no label: all.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Alerts that have it.")
@click.option("--hours", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--comment", default="", help="Why.")
@click.pass_obj
def silence(
    service: _Service,
    /,
    *,
    alert_ids: tuple[str, ...],
    labels: tuple[str, ...],
    hours: float,
    comment: str,
) -> None:
    """Tell nobody anything for some hours, from now on; judging goes on."""
    now = datetime.now(UTC)
    made = alert_pb2.Silence(
        silence_id=secrets.token_hex(8),
        alert_ids=alert_ids,
        labels=pairs(labels, "--label"),
        start_time=timestamp(now),
        end_time=timestamp(now + timedelta(hours=hours)),
        comment=comment,
    )
    with service.calls() as calls:
        kept = calls.CreateSilence(pb.CreateSilenceRequest(silence=made)).silence
    click.echo(f"{kept.silence_id} until {kept.end_time.ToJsonString()}")


@alerts.command()
@click.argument("silence_id", metavar="SILENCE")
@click.pass_obj
def unsilence(service: _Service, /, silence_id: str) -> None:
    """End a silence now."""
    with service.calls() as calls:
        calls.ExpireSilence(pb.ExpireSilenceRequest(silence_id=silence_id))
    click.echo(f"{silence_id} is over")


def _definition(file: TextIO) -> definition_pb2.AlertDefinition:
    try:
        return Parse(file.read(), definition_pb2.AlertDefinition())
    except ParseError as error:
        raise click.UsageError(f"{file.name} is no AlertDefinition: {error}") from error


def _tell(alert: alert_pb2.Alert, warnings: list[str]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    state = word(alert_pb2.ConditionState.Name(alert.state.condition), "CONDITION_STATE_")
    click.echo(f"{alert.alert_id} is {state if alert.active else 'paused'}")
