"""Turns answers into rows, and prints rows as a table for people or as JSON lines for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import click
from brain.common.v1.common_pb2 import Interval
from brain.events.v1.events_pb2 import ActiveUsers, Event, EventCount, TopEvent
from brain.metrics.v1.metrics_pb2 import MetricDescriptor, MetricPoint
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, object]  # None is absent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = ("event_id", "user_id", "anonymous_id", "session_id", "category", "page", "referrer", "user_agent")
# What people read where JSON has the names of the contract.
_HEADINGS = {
    "event_time": "time",
    "session_id": "session",
    "users": "people",
    "share_ratio": "share",
    "value_sum": "value",
    "sample_size": "observations",
}
_MIDNIGHT = time(0)
_PIPE_WIDTH = 200  # where there is no terminal to ask


def event_row(event: Event) -> Row:
    """Return the fields that are there, named as `brain import` takes them."""
    row: dict[str, object] = {"event_time": instant(event.event_time), "event": event.event}
    row |= {name: getattr(event, name) for name in _TEXTS if getattr(event, name)}
    if event.HasField("value"):
        row["value"] = event.value
    if event.properties_json:
        row["properties"] = json.loads(event.properties_json)
    elif event.HasField("properties"):
        row["properties"] = MessageToDict(event.properties)
    return row


def event_line(event: Event, time_zone: str) -> Row:
    """Return what identifies and describes an event to a person, in few columns; its time is local."""
    row = event_row(event)
    who = row.get("user_id") or row.get("anonymous_id")
    briefly = {"event_time": instant(event.event_time, time_zone), "event": row["event"], "who": who}
    return briefly | {name: row.get(name) for name in ("session_id", "value", "page", "properties")}


def count_row(count: EventCount, time_zone: str) -> Row:
    """Return start (local), group and numbers."""
    row: dict[str, object] = {}
    if count.HasField("start_time"):
        row["start"] = instant(count.start_time, time_zone)
    if count.HasField("user"):
        row["user"] = count.user.id
    elif count.HasField("group"):
        row["group"] = count.group
    numbers = {"events": count.events, "users": count.users, "value_sum": count.value_sum}
    return {**row, **numbers, "complete": count.complete}


def top_row(event: TopEvent) -> Row:
    """Return name and numbers."""
    return {
        "event": event.event,
        "events": event.events,
        "share_ratio": event.share_ratio,
        "users": event.users if event.HasField("users") else None,
        "value_sum": event.value_sum,
    }


def active_row(active: ActiveUsers, time_zone: str) -> Row:
    """Return the period (local) and its people."""
    return {
        "start": instant(active.start_time, time_zone),
        "end": instant(active.end_time, time_zone),
        "users": active.users,
        "complete": active.complete,
    }


def metric_row(metric: MetricDescriptor) -> Row:
    """Return what a metric is and how it may be asked."""
    return {
        "name": metric.name,
        "unit": metric.unit,
        "labels": ", ".join(metric.required_labels),
        "intervals": ", ".join(
            Interval.Name(each).removeprefix("INTERVAL_").lower() for each in metric.intervals
        ),
        "definition": metric.definition,
    }


def point_row(point: MetricPoint, time_zone: str) -> Row:
    """Return start (local) and value, None where it is not defined."""
    return {
        "start": instant(point.start_time, time_zone),
        "value": point.value if point.HasField("value") else None,
        "sample_size": point.sample_size,
        "complete": point.complete,
    }


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print to standard output."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False, default=datetime.isoformat))
        return
    table = Table()
    columns = [_column(name, rows) for name in dict.fromkeys(name for row in rows for name in row)]
    for heading, numeric, _ in columns:
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for cells in zip(*(cells for _, _, cells in columns), strict=True):
        table.add_row(*map(Text, cells))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(table if rows else "Nothing found.")


def _column(name: str, rows: Sequence[Row]) -> tuple[str, bool, list[str]]:
    """Return heading, whether it holds numbers, and a cell for each row."""
    values = [row.get(name) for row in rows]
    numeric = any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    moments = {value for value in values if isinstance(value, datetime)}
    # A range may begin or end within a day; if anything else does, these are no days.
    days = sum(moment.time() != _MIDNIGHT for moment in moments) <= 1
    cells = [
        _moment(value, days=days) if isinstance(value, datetime) else _cell(name, value) for value in values
    ]
    return _HEADINGS.get(name, name), numeric, cells


def _moment(moment: datetime, *, days: bool) -> str:
    if days and moment.time() == _MIDNIGHT:
        return moment.date().isoformat()
    return moment.isoformat(" ", "seconds")


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.1%}" if name == "share_ratio" else f"{value:,.4f}".rstrip("0").rstrip(".")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def instant(stamp: Timestamp, time_zone: str = "") -> datetime:
    """Return the local time of a timestamp, UTC where no zone is given."""
    moment = _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
    return moment.astimezone(ZoneInfo(time_zone or "UTC"))
