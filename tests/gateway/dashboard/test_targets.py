"""Targets of periods that are not over, beside what is expected of them."""

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from brain.common.v1 import common_pb2
from brain.events.v1 import saved_metrics_pb2 as pb
from brain.forecasting.v1 import forecasts_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.dashboard.overview import targets
from gateway.dashboard.overview.targets import Target
from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW, minted
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAY, points, stamp
from tests.services.forecasting.conftest import running

MONTH, WEEK = pb.METRIC_PERIOD_MONTHLY, pb.METRIC_PERIOD_WEEKLY
UTC = ZoneInfo("UTC")
TODAY = int(NOW.timestamp() * 1e6) // DAY * DAY  # 11 November 2011, a Friday
BOUGHT = '{"event": "bought"}'


@pytest.fixture
def site(
    events_service: EventsService,
    forecasting_database: str,
    token_keys: tuple[bytes, bytes],
    dashboard_key_file: Path,
    token_for: Callable[..., str],
    tmp_path: Path,
) -> Iterator[Site]:
    token_file = tmp_path / "sources.token"
    token_file.write_text(minted(token_keys[0], Role.ANALYST))
    port = events_service.application.server.port
    sources = {"metric_sources": {"events": f"127.0.0.1:{port}"}, "sources_token_file": token_file}
    clock = Clock(int(NOW.timestamp() * 1e6))
    with (
        running(forecasting_database, clock, token_keys[0], dashboard_key_file, **sources) as forecasting,
        gateway(
            port,
            dashboard_key_file,
            NOW.timestamp,
            forecasting_address=f"127.0.0.1:{forecasting.application.server.port}",
            currency="GBP",
        ) as origin,
    ):
        yield Site(origin, token_for(Role.ADMIN))


def save(
    events: EventsService,
    name: str,
    period: pb.MetricPeriod.ValueType,
    month_day: int,
    target: float,
    metadata: str = "",
) -> None:
    moment = Timestamp()
    moment.FromJsonString(f"2011-11-{month_day:02}T00:00:00Z")
    point = pb.MetricPointToSave(
        name=name, period=period, point_time=moment, value=0, target=target, metadata_json=metadata
    )
    events.events.SaveMetric(pb.SaveMetricRequest(points=[point]))


def test_what_a_period_will_reach_stands_beside_its_target(
    visitor: httpx.Client, events_service: EventsService
) -> None:
    # A purchase of 5 on each day: 10 days of November and 4 of the week are over.
    save(events_service, "revenue", MONTH, 1, 200)
    save(events_service, "event_count", WEEK, 8, 5, BOUGHT)
    save(events_service, "dau", MONTH, 1, 99)
    page = visitor.get(f"{PREFIX}/events").text
    said = re.findall(r"<li>([^<]*) <a href=\"([^\"]*)\"", page)
    texts = [text for text, _ in said]
    month = "Revenue in November 2011: 50 GBP so far, 150 GBP expected (80 %: 150 GBP to 150 GBP), "
    week = "bought in the week of Mon 7 Nov 2011: 4 so far, 7 expected (80 %: 7 to 7), "
    assert f"{month}25.0 % below its target of 200 GBP." in texts
    assert f"{week}40.0 % above its target of 5." in texts
    # The unusual day of active people is further from what was expected, by twice.
    assert texts[0].startswith("Daily active users on Thu 10 Nov 2011")
    assert texts.index(f"{week}40.0 % above its target of 5.") < texts.index(
        f"{month}25.0 % below its target of 200 GBP."
    )
    [address] = [address for text, address in said if text.startswith("Revenue in")]
    tab = visitor.get(address.replace("&amp;", "&"))
    assert "expected in 30 days" in tab.text
    assert all("99" not in text for text in texts)
    past = visitor.get(f"{PREFIX}/events?range=custom&from=2011-10-01&to=2011-11-09").text
    assert "its target" not in past


def test_without_forecasts_targets_are_not_spoken_of(
    events_service: EventsService, dashboard_key_file: Path, token_for: Callable[..., str]
) -> None:
    save(events_service, "revenue", MONTH, 1, 200)
    port = events_service.application.server.port
    away: dict[str, Any] = {"forecasting_address": "127.0.0.1:1", "call_seconds": 1}
    for settings in ({}, away):
        with (
            gateway(port, dashboard_key_file, NOW.timestamp, **settings) as origin,
            Site(origin, token_for(Role.ADMIN)).signed_in() as visitor,
        ):
            page = visitor.get(f"{PREFIX}/events")
            assert page.status_code == 200
            assert "its target" not in page.text


def saved(name: str, at: int, target: float | None, metadata: str = "") -> pb.SavedMetric:
    return pb.SavedMetric(
        name=name, period=MONTH, point_time=stamp(at), target=target, metadata_json=metadata
    )


def test_targets_are_of_sums_and_the_latest_counts() -> None:
    november = date(2011, 11, 1), date(2011, 11, 30)
    listed = [
        saved("aov", 0, 1),
        saved("event_count", 0, 2),
        saved("event_count", 1, 3, '{"event": 4}'),
        saved("event_count", 2, 4, BOUGHT),
        saved("revenue", 0, 5),
        saved("revenue", 1, 6),
        saved("revenue", 2, None),
    ]
    assert targets.targets(listed, date(2011, 11, 11)) == [
        Target("event_count", "bought", *november, 4),
        Target("revenue", "", *november, 6),
    ]


@pytest.mark.parametrize(
    ("day", "last"), [(date(2012, 2, 29), 29), (date(2011, 12, 1), 31), (date(2011, 2, 28), 28)]
)
def test_months_end_with_their_last_day(day: date, last: int) -> None:
    assert targets.period_of(MONTH, day) == (day.replace(day=1), day.replace(day=last))


def test_weeks_begin_on_monday() -> None:
    for day in (date(2011, 10, 31), date(2011, 11, 6)):
        assert targets.period_of(WEEK, day) == (date(2011, 10, 31), date(2011, 11, 6))


def test_days_without_a_value_make_no_outlook() -> None:
    wanted = Target("revenue", "", date(2011, 11, 9), date(2011, 11, 12), 10)
    ahead = [forecasts_pb2.ForecastPoint(start_time=stamp(TODAY + day * DAY)) for day in (0, 1)]
    interval = forecasts_pb2.ForecastInterval(level_ratio=0.8, lower=3, upper=5)
    total = forecasts_pb2.ForecastTotal(expected=4, intervals=[interval])

    def told(values: list[float], last: int) -> targets.Outlook | None:
        history = points(values, TODAY - len(values) * DAY)
        found = forecasts_pb2.Forecast(history=history, points=ahead[: last + 1], total=total)
        return targets.outlook(wanted, forecasts_pb2.ForecastMetricResponse(forecast=found), UTC)

    known = told([100, 1, 2], 1)
    assert known is not None
    assert (known.so_far, known.expected, known.lower, known.upper) == (3, 7, 6, 8)
    assert known.distance_ratio == pytest.approx(0.3)
    assert told([100, 1, float("nan")], 1) is None
    assert told([100, 1, 2], 0) is None


def test_the_question_ends_with_the_period() -> None:
    wanted = Target("event_count", "bought", date(2011, 11, 1), date(2011, 11, 30), 10)
    asked = targets.question(wanted, date(2011, 11, 11), ZoneInfo("Europe/Berlin"))
    assert asked.options.options.horizon == 20
    assert dict(asked.metric.labels) == {"event": "bought"}
    assert (asked.metric.interval, asked.metric.time_zone) == (common_pb2.INTERVAL_DAY, "Europe/Berlin")
