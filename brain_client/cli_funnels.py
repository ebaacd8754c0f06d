"""`brain funnels`: make funnels, ask about them, record steps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TextIO, TypedDict, Unpack

import click
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1.events_pb2 import USER_KIND_USER, UserReference
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from google.protobuf.json_format import MessageToJson

from brain_client import questions, tables
from brain_client.cli_session import Target, moment
from brain_client.event import timestamp
from brain_client.funnel_definitions import ORDERS, of_events, read
from brain_client.funnel_rows import (
    attempt_row,
    dropoff_row,
    funnel_row,
    point_row,
    segment_row,
    step_rows,
    user_row,
)

_PAGE = 1_000
_DEFAULT_RANGE = timedelta(days=30)
_ENTRIES = {"best": results_pb2.FUNNEL_ENTRY_BEST, "first": results_pb2.FUNNEL_ENTRY_FIRST}
_OUTCOMES = {"reached": results_pb2.STEP_OUTCOME_REACHED, "lost": results_pb2.STEP_OUTCOME_LOST}
_TOUCHES = {"first": results_pb2.ATTRIBUTION_FIRST_TOUCH, "last": results_pb2.ATTRIBUTION_LAST_TOUCH}


class _Asked(TypedDict):
    start: str | None
    end: str | None
    entry: str
    as_json: bool


@dataclass(frozen=True)
class _Service:
    """Where the funnels service listens, and how to be let in."""

    address: str
    target: Target

    @contextmanager
    def calls(self, role: str) -> Iterator[FunnelsServiceStub]:
        with self.target.channel(self.address, role) as opened:
            yield FunnelsServiceStub(opened)


@click.group()
@click.option(
    "--funnels-address",
    envvar="BRAIN_FUNNELS_ADDRESS",
    default="127.0.0.1:50053",
    show_default=True,
    show_envvar=True,
    help="Where the funnels service listens.",
)
@click.pass_context
def funnels(context: click.Context, funnels_address: str) -> None:
    """Make funnels and ask who went through them. Ranges are [start, end): the last 30 days by default."""
    context.obj = _Service(funnels_address, context.obj)


_start = click.option("--start", help="ISO 8601, inclusive; 30 days before the end where absent.")
_end = click.option("--end", help="ISO 8601, exclusive; now where absent.")
_entry = click.option(
    "--entry",
    type=click.Choice(list(_ENTRIES)),
    default="best",
    show_default=True,
    help="Which of somebody's attempts may count.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")


@funnels.command()
@click.argument("funnel")
@click.argument("events", nargs=-1)
@click.option("--name", default="", help="What people call it; FUNNEL where absent.")
@click.option("--window-minutes", type=int, default=60, show_default=True)
@click.option("--order", type=click.Choice(list(ORDERS)), default="ordered", show_default=True)
@click.option("--optional", type=int, multiple=True, help="A step that may be skipped, from 0; repeatable.")
@click.option(
    "--exclude", multiple=True, metavar="EVENT:FROM:TO", help="Spoils between two steps; repeatable."
)
@click.option("--definition", type=click.File(), help="A CreateFunnelRequest as JSON, for filters.")
@click.pass_obj
def create(
    service: _Service,
    /,
    funnel: str,
    events: Sequence[str],
    definition: TextIO | None,
    **asked: str | int | tuple[str, ...] | tuple[int, ...],
) -> None:
    """Make FUNNEL of EVENTS, a step each in order, or of a definition."""
    if bool(events) == bool(definition):
        raise click.UsageError("give either events or --definition")
    request = read(definition) if definition else of_events(events, **asked)
    request.funnel_id = funnel
    request.name = request.name or funnel
    with service.calls("admin") as calls:
        reply = calls.CreateFunnel(request)
    for warning in reply.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(f"{reply.funnel.funnel_id} has {len(reply.funnel.steps)} steps")


@funnels.command("list")
@click.option("--active", is_flag=True, help="Leave out deactivated ones.")
@_json
@click.pass_obj
def list_command(service: _Service, /, *, active: bool, as_json: bool) -> None:
    """List funnels."""
    rows: list[tables.Row] = []
    request = pb.ListFunnelsRequest(active_only=active, page_size=_PAGE)
    with service.calls("admin") as calls:
        while True:
            reply = calls.ListFunnels(request)
            rows += map(funnel_row, reply.funnels)
            request.page_token = reply.next_page_token
            if not request.page_token:
                break
    tables.show(rows, as_json=as_json)


@funnels.command()
@click.argument("funnel")
@click.pass_obj
def deactivate(service: _Service, /, funnel: str) -> None:
    """Have FUNNEL take no more step records."""
    with service.calls("admin") as calls:
        calls.DeactivateFunnel(pb.DeactivateFunnelRequest(funnel_id=funnel))
    click.echo(f"{funnel} is inactive")


@funnels.command()
@click.argument("funnel")
@click.option("--by", default="", help="A property to break down by.")
@click.option("--touch", type=click.Choice(list(_TOUCHES)), default="first", help="Whose value counts.")
@_start
@_end
@_entry
@_json
@click.pass_obj
def results(service: _Service, /, funnel: str, by: str, touch: str, **asked: Unpack[_Asked]) -> None:
    """Show how many came to each step of FUNNEL, and how long that took."""
    request = pb.GetFunnelResultsRequest(
        funnel_id=funnel, time_range=_range(asked), entry=_ENTRIES[asked["entry"]], group_property=by
    )
    if by:
        request.attribution = _TOUCHES[touch]
    with service.calls("admin") as calls:
        found = calls.GetFunnelResults(request).results
    if asked["as_json"]:
        click.echo(MessageToJson(found, preserving_proto_field_name=True, indent=None))
        return
    tables.show(step_rows(found), as_json=False)


@funnels.command()
@click.argument("funnel")
@click.option("--interval", type=click.Choice(list(questions.INTERVALS)), default="week", show_default=True)
@click.option("--time-zone", default="", help="IANA name; the deployment's zone where absent.")
@_start
@_end
@_entry
@_json
@click.pass_obj
def conversion(
    service: _Service, /, funnel: str, interval: str, time_zone: str, **asked: Unpack[_Asked]
) -> None:
    """Show how many of those who began FUNNEL in each interval finished it."""
    request = pb.GetFunnelConversionRequest(
        funnel_id=funnel,
        time_range=_range(asked, time_zone),
        entry=_ENTRIES[asked["entry"]],
        interval=questions.interval(interval),
        time_zone=time_zone,
    )
    with service.calls("admin") as calls:
        reply = calls.GetFunnelConversion(request)
    tables.show([point_row(point, reply.time_zone) for point in reply.points], as_json=asked["as_json"])


@funnels.command()
@click.argument("funnel")
@click.option("--property", "properties", multiple=True, help="Look for segments in it; repeatable.")
@_start
@_end
@_entry
@_json
@click.pass_obj
def dropoff(service: _Service, /, funnel: str, properties: tuple[str, ...], **asked: Unpack[_Asked]) -> None:
    """Show where FUNNEL loses people, and which segments lose significantly more."""
    request = pb.GetDropoffAnalysisRequest(
        funnel_id=funnel,
        time_range=_range(asked),
        entry=_ENTRIES[asked["entry"]],
        properties=properties,
    )
    with service.calls("admin") as calls:
        reply = calls.GetDropoffAnalysis(request)
    tables.show([dropoff_row(each, reply) for each in reply.dropoffs], as_json=asked["as_json"])
    if reply.segments:
        tables.show(list(map(segment_row, reply.segments)), as_json=asked["as_json"])


@funnels.command()
@click.argument("funnel")
@click.argument("step", type=int)
@click.argument("outcome", type=click.Choice(list(_OUTCOMES)))
@click.option("--limit", type=click.IntRange(1, _PAGE), default=20, show_default=True)
@_start
@_end
@_entry
@_json
@click.pass_obj
def users(
    service: _Service, /, funnel: str, step: int, outcome: str, limit: int, **asked: Unpack[_Asked]
) -> None:
    """List who reached STEP of FUNNEL (from 0), or was lost before it."""
    request = pb.ListStepUsersRequest(
        funnel_id=funnel,
        time_range=_range(asked),
        entry=_ENTRIES[asked["entry"]],
        step=step,
        outcome=_OUTCOMES[outcome],
        page_size=limit,
    )
    with service.calls("admin") as calls:
        reply = calls.ListStepUsers(request)
    tables.show(list(map(user_row, reply.users)), as_json=asked["as_json"])


@funnels.command()
@click.argument("funnel")
@click.argument("user")
@_start
@_end
@_entry
@_json
@click.pass_obj
def journey(service: _Service, /, funnel: str, user: str, **asked: Unpack[_Asked]) -> None:
    """Show every attempt of USER at FUNNEL, and why it counts or not."""
    request = pb.GetUserJourneyRequest(
        funnel_id=funnel,
        user=UserReference(kind=USER_KIND_USER, id=user),
        time_range=_range(asked),
        entry=_ENTRIES[asked["entry"]],
        page_size=_PAGE,
    )
    with service.calls("admin") as calls:
        reply = calls.GetUserJourney(request)
    tables.show(list(map(attempt_row, reply.attempts)), as_json=asked["as_json"])


@funnels.command()
@click.argument("funnel")
@click.argument("step", type=int)
@click.argument("user")
@click.option("--time", help="ISO 8601; now where absent.")
@click.pass_obj
def track(service: _Service, /, funnel: str, step: int, user: str, time: str | None) -> None:
    """Record that USER did STEP of FUNNEL (from 0)."""
    when = moment(time) if time else datetime.now(UTC)
    record = pb.StepRecord(
        funnel_id=funnel,
        step=step,
        user=UserReference(kind=USER_KIND_USER, id=user),
        step_time=timestamp(when),
    )
    with service.calls("ingest") as calls:
        reply = calls.TrackFunnelStep(pb.TrackFunnelStepRequest(step=record))
    click.echo("had been recorded before" if reply.duplicate else "recorded")


def _range(asked: _Asked, time_zone: str = "") -> TimeRange:
    end = moment(asked["end"], time_zone) if asked["end"] else datetime.now(UTC)
    start = moment(asked["start"], time_zone) if asked["start"] else end - _DEFAULT_RANGE
    return questions.time_range(start, end)
