"""`brain query retention`, `lifecycle`, `stickiness`: who comes back."""

from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack

import click
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1.retention_pb2 import (
    GetLifecycleRequest,
    GetRetentionRequest,
    GetStickinessRequest,
    RetentionAverage,
    RetentionCell,
    RetentionEntry,
    RetentionMode,
)
from google.protobuf.timestamp_pb2 import Timestamp

from brain_client import questions, tables
from brain_client.cli_session import Target, moment, zone

_DEFAULT_RANGE = timedelta(days=30)
_LENGTHS = [word for word in questions.INTERVALS if word != "hour"]


class _Asked(TypedDict):
    """The options of every command here."""

    start: str | None
    end: str | None
    time_zone: str
    as_json: bool


class _RetentionAsked(_Asked):
    start_event: str
    return_events: tuple[str, ...]
    offsets: tuple[int, ...]
    or_after: bool
    first_ever: bool


_start = click.option("--start", help="ISO 8601, inclusive; 30 days before the end where absent.")
_end = click.option("--end", help="ISO 8601, exclusive; now where absent.")
_zone = click.option("--time-zone", default="", help="IANA name; the deployment's zone where absent.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
_event = click.option("--event", "events", multiple=True, help="What counts as activity; may be repeated.")


@click.command()
@click.argument("interval", type=click.Choice(_LENGTHS))
@click.option("--start-event", default="", help="What lets people in; any event where absent.")
@click.option("--return-event", "return_events", multiple=True, help="May be repeated; any where absent.")
@click.option("--day", "offsets", type=int, multiple=True, help="May be repeated; 1, 7, 14, 30 where absent.")
@click.option("--or-after", is_flag=True, help="Count returns on that day or later in the range.")
@click.option("--first-ever", is_flag=True, help="Let people in by the first start event of all time.")
@_start
@_end
@_zone
@_json
@click.pass_obj
def retention(target: Target, /, interval: str, **asked: Unpack[_RetentionAsked]) -> None:
    """Tell how many people of each cohort came back, by days after their entry."""
    mode, entry = RetentionMode.RETENTION_MODE_ON_DAY, RetentionEntry.RETENTION_ENTRY_RECURRING
    if asked["or_after"]:
        mode = RetentionMode.RETENTION_MODE_ON_OR_AFTER
    if asked["first_ever"]:
        entry = RetentionEntry.RETENTION_ENTRY_FIRST_EVER
    request = GetRetentionRequest(
        start_event=asked["start_event"],
        return_events=asked["return_events"],
        interval=questions.interval(interval),
        offset_days=asked["offsets"],
        mode=mode,
        entry=entry,
        time_range=_range(asked),
        time_zone=asked["time_zone"],
    )
    with target.connect("admin") as brain:
        reply = brain.events.GetRetention(request)
    rows: list[tables.Row] = [
        {"cohort": _day(cohort.start_time, reply.time_zone), "users": cohort.size}
        | {_name(cell): _told(cell, as_json=asked["as_json"]) for cell in cohort.cells}
        for cohort in reply.cohorts
    ]
    average = {_name(each): _told(each, as_json=asked["as_json"]) for each in reply.averages}
    tables.show([*rows, {"cohort": "average"} | average], as_json=asked["as_json"])


@click.command()
@click.argument("interval", type=click.Choice(_LENGTHS))
@_event
@_start
@_end
@_zone
@_json
@click.pass_obj
def lifecycle(target: Target, /, interval: str, *, events: tuple[str, ...], **asked: Unpack[_Asked]) -> None:
    """Divide people into new, returning and resurrected, and count those gone dormant."""
    request = GetLifecycleRequest(
        interval=questions.interval(interval),
        time_range=_range(asked),
        time_zone=asked["time_zone"],
        events=events,
    )
    with target.connect("admin") as brain:
        reply = brain.events.GetLifecycle(request)
    rows: list[tables.Row] = [
        {
            "start": _day(period.start_time, reply.time_zone),
            "active": period.active,
            "new": period.new_users,
            "returning": period.returning,
            "resurrected": period.resurrected,
            "dormant": period.dormant,
            "complete": period.complete,
        }
        for period in reply.periods
    ]
    tables.show(rows, as_json=asked["as_json"])


@click.command()
@click.argument("interval", type=click.Choice([word for word in _LENGTHS if word != "day"]))
@_event
@_start
@_end
@_zone
@_json
@click.pass_obj
def stickiness(target: Target, /, interval: str, *, events: tuple[str, ...], **asked: Unpack[_Asked]) -> None:
    """Tell on how many days of each week or month people were active."""
    request = GetStickinessRequest(
        interval=questions.interval(interval),
        time_range=_range(asked),
        time_zone=asked["time_zone"],
        events=events,
    )
    with target.connect("admin") as brain:
        reply = brain.events.GetStickiness(request)
    rows: list[tables.Row] = [
        {
            "start": _day(period.start_time, reply.time_zone),
            "users": period.users,
            "average_days": period.average_days if period.HasField("average_days") else None,
            "stickiness_ratio": period.stickiness_ratio if period.HasField("stickiness_ratio") else None,
            "users_by_days": [bucket.users for bucket in period.histogram],
            "complete": period.complete,
        }
        for period in reply.periods
    ]
    tables.show(rows, as_json=asked["as_json"])


def _range(asked: _Asked) -> TimeRange:
    end = moment(asked["end"], asked["time_zone"]) if asked["end"] else datetime.now(UTC)
    try:
        start = moment(asked["start"], asked["time_zone"]) if asked["start"] else end - _DEFAULT_RANGE
    except OverflowError:
        raise click.UsageError("--end lies too early") from None
    if start >= end:
        raise click.UsageError("--start must lie before --end")
    return questions.time_range(start, end)


def _day(stamp: Timestamp, time_zone: str) -> str:
    return stamp.ToDatetime(UTC).astimezone(zone(time_zone)).date().isoformat()


def _name(cell: RetentionCell | RetentionAverage) -> str:
    return f"day {cell.offset_days}"


def _told(cell: RetentionCell | RetentionAverage, *, as_json: bool) -> object:
    """Return the ratio; for people in per cent, an open one with a mark."""
    ratio = cell.ratio if cell.HasField("ratio") else None
    if as_json or ratio is None:
        return ratio
    is_open = isinstance(cell, RetentionCell) and not cell.complete
    return f"{ratio:.1%}{' …' if is_open else ''}"
