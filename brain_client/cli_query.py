from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, TypeVar, Unpack

import click
from brain.common.v1.common_pb2 import PropertyFilter, TimeRange
from brain.events.v1.conversion_pb2 import GetConversionRateRequest
from brain.events.v1.events_pb2 import (
    CountEventsRequest,
    EventOrder,
    GetActiveUsersRequest,
    GetTopEventsRequest,
    QueryEventsRequest,
)
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest, MetricQuery, ReadMetricRequest

from brain_client import conversions, counting, questions, tables
from brain_client.cli_session import Target, moment, pairs, typed

_DEFAULT_RANGE = timedelta(days=30)
_PAGE = 1_000
_MOST_INTERVALS = 10_000  # the server answers with no more
_LONGEST = {  # of each interval or period, not counting days of 25 hours
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=31),
}
Command = TypeVar("Command", bound=Callable[..., Any])


class _Asked(TypedDict, total=False):
    """The options that go straight into a request; each command declares those it takes."""

    start: str | None
    end: str | None
    time_zone: str
    events: tuple[str, ...]
    filters: tuple[str, ...]
    labels: tuple[str, ...]
    user: str
    anonymous: str
    session: str
    category: str
    by: str
    interval: str | None
    include_sessions: bool
    known_only: bool


@click.group()
def query() -> None:
    """Ask about events. Ranges are [start, end): the last 30 days unless said otherwise."""


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_range = _options(
    click.option(
        "--start", help="ISO 8601, in --time-zone or UTC, inclusive; 30 days before the end where absent."
    ),
    click.option("--end", help="ISO 8601, exclusive; now where absent."),
    click.option("--time-zone", default="", help="IANA name; the deployment's zone where absent."),
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
_filter = click.option(
    "--filter", "filters", multiple=True, metavar="PROPERTY=VALUE", help="May be repeated."
)
_event = click.option("--event", "events", multiple=True, help="May be repeated; all where absent.")


@query.command("events")
@_event
@_filter
@click.option("--user", default="", help="User id.")
@click.option("--anonymous", default="", help="Anonymous id.")
@click.option("--session", default="", help="Session id.")
@click.option("--oldest-first", is_flag=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@_range
@_json
@click.pass_obj
def list_events(
    target: Target, /, *, as_json: bool, limit: int, oldest_first: bool, **asked: Unpack[_Asked]
) -> None:
    """List raw events, newest first. With --json `brain import` reads them again."""
    order = EventOrder.EVENT_ORDER_OLDEST_FIRST if oldest_first else EventOrder.EVENT_ORDER_NEWEST_FIRST
    request = QueryEventsRequest(
        events=asked["events"],
        filters=_filters(asked["filters"]),
        user_id=asked["user"],
        anonymous_id=asked["anonymous"],
        session_id=asked["session"],
        time_range=_time_range(asked),
        order=order,
    )
    rows: list[tables.Row] = []
    with target.connect("admin") as brain:
        while len(rows) < limit:
            request.page_size = min(_PAGE, limit - len(rows))
            reply = brain.events.QueryEvents(request)
            rows += (
                tables.event_row(event) if as_json else tables.event_line(event, asked["time_zone"])
                for event in reply.events
            )
            if not reply.next_page_token:
                break
            request.page_token = reply.next_page_token
    tables.show(rows, as_json=as_json)


@query.command()
@_event
@_filter
@click.option("--category", default="")
@click.option("--by", default="", help="event, category, user or property:NAME.")
@click.option("--interval", type=click.Choice(list(questions.INTERVALS)), help="One total where absent.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Groups.")
@_range
@_json
@click.pass_obj
def counts(target: Target, /, *, as_json: bool, limit: int, **asked: Unpack[_Asked]) -> None:
    """Count events and people and sum values, over time and by one dimension."""
    group, name = questions.count_group(asked["by"])
    request = CountEventsRequest(
        events=asked["events"],
        filters=_filters(asked["filters"]),
        category=asked["category"],
        time_range=_time_range(asked, asked["interval"]),
        time_zone=asked["time_zone"],
        interval=questions.interval(asked["interval"] or ""),
        group_by=group,
        group_property=name,
    )
    with target.connect("admin") as brain:
        found, time_zone = counting.count(brain.events, request, limit)
    tables.show([tables.count_row(count, time_zone) for count in found], as_json=as_json)


@query.command()
@click.option("--category", default="")
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True)
@_range
@_json
@click.pass_obj
def top(target: Target, /, *, as_json: bool, limit: int, **asked: Unpack[_Asked]) -> None:
    """List the most frequent events."""
    request = GetTopEventsRequest(
        time_range=_time_range(asked), category=asked["category"], limit=limit, with_users=True
    )
    with target.connect("admin") as brain:
        reply = brain.events.GetTopEvents(request)
    tables.show([tables.top_row(event) for event in reply.top_events], as_json=as_json)


@query.command()
@click.argument("period", type=click.Choice(list(questions.PERIODS)))
@_event
@_filter
@_range
@click.option("--include-sessions", is_flag=True, help="Count visitors without any id too.")
@click.option("--known-only", is_flag=True, help="Count signed-in users only.")
@_json
@click.pass_obj
def active(target: Target, /, period: str, *, as_json: bool, **asked: Unpack[_Asked]) -> None:
    """Count active people: now, or with --start or --end each day, week or month of that range."""
    request = GetActiveUsersRequest(
        period=questions.period(period),
        time_range=_time_range(asked, period) if asked["start"] or asked["end"] else None,
        time_zone=asked["time_zone"],
        events=asked["events"],
        filters=_filters(asked["filters"]),
        include_sessions=asked["include_sessions"],
        known_only=asked["known_only"],
    )
    with target.connect("admin") as brain:
        reply = brain.events.GetActiveUsers(request)
    tables.show([tables.active_row(each, reply.time_zone) for each in reply.active_users], as_json=as_json)


@query.command()
@click.argument("name", required=False)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@_filter
@click.option("--interval", type=click.Choice(list(questions.INTERVALS)), default="day", show_default=True)
@_range
@_json
@click.pass_obj
def metrics(target: Target, /, name: str | None, *, as_json: bool, **asked: Unpack[_Asked]) -> None:
    """Read the metric NAME as a series; without a name, list the metrics there are."""
    with target.connect("admin") as brain:
        if name is None:
            listed = brain.metrics.ListMetrics(ListMetricsRequest(page_size=_PAGE)).metrics
            rows = [tables.metric_row(metric) for metric in listed]
        else:
            asked_for = MetricQuery(
                name=name,
                labels=pairs(asked["labels"], "--label"),
                filters=_filters(asked["filters"]),
                interval=questions.interval(asked["interval"] or ""),
                time_range=_time_range(asked, asked["interval"]),
                time_zone=asked["time_zone"],
            )
            series = brain.metrics.ReadMetric(ReadMetricRequest(query=asked_for)).series
            rows = [tables.point_row(point, series.time_zone) for point in series.points]
    tables.show(rows, as_json=as_json)


@query.command()
@click.argument("start_event")
@click.argument("end_event")
@click.option("--window-minutes", type=click.IntRange(1, 527_040), default=60, show_default=True)
@click.option(
    "--start-filter", "start_filters", multiple=True, metavar="PROPERTY=VALUE", help="May be repeated."
)
@click.option("--end-filter", "end_filters", multiple=True, metavar="PROPERTY=VALUE", help="May be repeated.")
@click.option("--by", default="", metavar="PROPERTY", help="A property of START_EVENT.")
@click.option("--interval", type=click.Choice(list(questions.INTERVALS)), help="One total where absent.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Groups.")
@_range
@_json
@click.pass_obj
def conversion(  # noqa: PLR0913 - the options of a command
    target: Target,
    /,
    start_event: str,
    end_event: str,
    *,
    window_minutes: int,
    start_filters: tuple[str, ...],
    end_filters: tuple[str, ...],
    limit: int,
    as_json: bool,
    **asked: Unpack[_Asked],
) -> None:
    """Count who did START_EVENT and then END_EVENT within a window, over time or by a property."""
    request = GetConversionRateRequest(
        start_event=start_event,
        end_event=end_event,
        window_minutes=window_minutes,
        start_filters=_filters(start_filters),
        end_filters=_filters(end_filters),
        time_range=_time_range(asked, asked["interval"]),
        time_zone=asked["time_zone"],
        interval=questions.interval(asked["interval"] or ""),
        group_property=asked["by"],
        page_size=limit if asked["by"] else 0,
    )
    with target.connect("admin") as brain:
        answer = brain.events.GetConversionRate(request)
    tables.show(conversions.rows(answer), as_json=as_json)


def _time_range(asked: _Asked, interval: str | None = None) -> TimeRange:
    """Return the range asked for. Refuses here what the server would refuse in words of the contract."""
    try:
        end = moment(asked["end"], asked["time_zone"]) if asked["end"] else datetime.now(UTC)
        start = moment(asked["start"], asked["time_zone"]) if asked["start"] else end - _DEFAULT_RANGE
    except OverflowError:
        raise click.UsageError("--start and --end must lie in the years 1 to 9999") from None
    if start >= end:
        default = "" if asked["end"] else ", which is now where it is not given"
        raise click.UsageError(f"--start must lie before --end{default}")
    if interval and end - start > _MOST_INTERVALS * _LONGEST[interval]:
        raise click.UsageError(
            f"--start and --end lie too far apart for one {interval} each: {_MOST_INTERVALS:,} are the most"
        )
    return questions.time_range(start, end)


def _filters(texts: Sequence[str]) -> list[PropertyFilter]:
    return questions.equals({name: typed(text) for name, text in pairs(texts, "--filter").items()})
