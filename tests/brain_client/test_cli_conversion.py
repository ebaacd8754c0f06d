"""`brain query conversion`: what is asked, and how answers look."""

import json
from pathlib import Path

from brain.common.v1.common_pb2 import INTERVAL_DAY
from brain.events.v1 import conversion_pb2 as pb
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from brain_client.cli import main
from tests.brain_client.memory_events import Running

HALF = pb.ConversionRate(
    starters=2, converters=1, conversion_ratio=0.5, median_seconds=90, mean_seconds=90, open_entries=1
)
NOBODY = pb.ConversionRate(absent_reason="NO_STARTERS")
MIDNIGHT = Timestamp(seconds=1_324_771_200)  # 2011-12-25


def run(served: Running, *arguments: str) -> Result:
    asked = ["--address", served.address, "--token", "t", "query", "conversion", "seen", "bought", *arguments]
    return CliRunner().invoke(main, asked)


def json_rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.output.splitlines()]


def test_every_option_is_asked(served: Running, directory: Path) -> None:
    served.servicer.answers = [pb.GetConversionRateResponse(total=HALF)]
    options = ["--start-filter", "plan=pro", "--end-filter", "paid=true", "--window-minutes", "90"]
    options += ["--by", "country", "--limit", "3", "--interval", "day", "--time-zone", "Asia/Kolkata"]
    assert run(served, *options, "--start", "2011-12-25", "--end", "2011-12-26").exit_code == 0
    [request] = served.servicer.requests
    assert isinstance(request, pb.GetConversionRateRequest)
    assert (request.start_event, request.end_event, request.window_minutes) == ("seen", "bought", 90)
    assert (request.group_property, request.page_size, request.interval) == ("country", 3, INTERVAL_DAY)
    assert request.start_filters[0].values[0].string_value == "pro"
    assert request.end_filters[0].values[0].bool_value
    assert request.time_range.start_time.seconds == MIDNIGHT.seconds - 5 * 3_600 - 1_800
    assert request.time_zone == "Asia/Kolkata"


def test_a_total_is_one_row(served: Running, directory: Path) -> None:
    served.servicer.answers = [pb.GetConversionRateResponse(total=HALF, complete=True)]
    assert json_rows(run(served, "--json")) == [
        {
            "starters": 2,
            "converters": 1,
            "conversion_ratio": 0.5,
            "median_seconds": 90,
            "mean_seconds": 90,
            "open_entries": 1,
            "complete": True,
        }
    ]
    [request] = served.servicer.requests
    assert isinstance(request, pb.GetConversionRateRequest)
    assert not request.page_size


def test_points_are_rows_in_local_time(served: Running, directory: Path) -> None:
    points = [pb.ConversionPoint(start_time=MIDNIGHT, rate=rate) for rate in (HALF, NOBODY)]
    served.servicer.answers = [
        pb.GetConversionRateResponse(total=HALF, points=points, time_zone="Asia/Kolkata")
    ]
    found = json_rows(run(served, "--json", "--interval", "day"))
    assert [row["start"] for row in found] == ["2011-12-25T05:30:00+05:30"] * 2
    assert [row["conversion_ratio"] for row in found] == [0.5, None]
    assert "05:30" in run(served, "--interval", "day").output


def test_groups_are_rows_and_the_rest_is_the_last(served: Running, directory: Path) -> None:
    groups = [pb.ConversionGroup(group='"pro"', rate=HALF), pb.ConversionGroup(rate=NOBODY)]
    served.servicer.answers = [
        pb.GetConversionRateResponse(total=HALF, groups=groups, group_count=3, rest=HALF),
        pb.GetConversionRateResponse(
            total=HALF,
            groups=[
                pb.ConversionGroup(group="7", points=[pb.ConversionPoint(start_time=MIDNIGHT, rate=HALF)])
            ],
            group_count=1,
        ),
    ]
    found = json_rows(run(served, "--json", "--by", "plan"))
    assert [row["group"] for row in found] == ['"pro"', None, None]
    assert [row.get("rest") for row in found] == [None, None, True]
    [point] = json_rows(run(served, "--json", "--by", "plan", "--interval", "day"))
    assert (point["group"], point["starters"]) == ("7", 2)
