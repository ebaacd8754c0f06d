import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from brain.common.v1.common_pb2 import Interval
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricPoint
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from brain_client import Brain
from brain_client.cli import main
from shared.auth import Role, TokenVerifier
from tests.brain_client.memory_events import Running, Store

Run = Callable[..., Result]
CHRISTMAS = Timestamp(seconds=int(datetime(2011, 12, 25, tzinfo=UTC).timestamp()))


@pytest.fixture
def run(served: Running, directory: Path) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--address", served.address, "--token", "t", *arguments])

    return invoke


def test_help_shows_examples() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert "  brain query active month\n" in result.output


def test_track_stores_one_event_with_typed_properties(run: Run, store: Store) -> None:
    options = ["--user", "u", "--session", "s", "--value", "1.5", "--time", "2026-01-01", "--id", "e"]
    properties = ["--property", "plan=pro", "--property", "seats=3", "--property", 'zip="0078"']
    assert run("track", "signed_up", *options, *properties).output == "e stored\n"
    assert run("track", "signed_up", *options, *properties).output == "e had been stored before\n"
    [event] = store.events.values()
    assert (event.event, event.user_id, event.value) == ("signed_up", "u", 1.5)
    assert json.loads(event.properties_json) == {"plan": "pro", "seats": 3, "zip": "0078"}


def test_errors_name_every_bad_field(run: Run) -> None:
    result = run("track", "bad", "--session", "s")
    assert result.exit_code == 1
    assert result.output == (
        "Error: INVALID_ARGUMENT: the request has bad fields\n"
        "  event.event: is bad\n"
        "  event.value: is bad too\n"
    )


def test_a_mistake_is_told_without_a_call(run: Run, store: Store) -> None:
    result = run("track", "e", "--session", "s", "--value", "inf")
    assert result.exit_code == 1
    assert "value must be within" in result.output


def test_without_a_token_the_one_of_the_local_run_is_taken(
    served: Running, store: Store, directory: Path
) -> None:
    arguments = ["--address", served.address, "import", "e.csv"]
    (directory / "e.csv").write_text("event,session_id,event_time\ne,s,2026-01-01\n")
    missing = CliRunner().invoke(main, arguments)
    assert missing.exit_code == 2
    assert "give --token or BRAIN_TOKEN" in missing.output
    (directory / ".brain").mkdir(exist_ok=True)
    (directory / ".brain" / "ingest.token").write_text("from-file\n")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert store.tokens == {"Bearer from-file"}


def test_exported_events_can_be_imported_again(
    run: Run, served: Running, store: Store, directory: Path
) -> None:
    with Brain(served.address, "t") as brain:
        for day in range(1, 26):
            brain.track(
                "bought",
                user_id="u",
                session_id="s",
                value=1.25,
                properties={"a": {"b": day}},
                event_time=datetime(2026, 1, day, tzinfo=UTC),
            )
    served.servicer.largest_page = 10
    exported = run("query", "events", "--limit", "25", "--json").output
    assert len(exported.splitlines()) == 25
    (directory / "export.jsonl").write_text(exported)
    assert "0 accepted, 25 duplicates" in run("import", "export.jsonl").output


def test_events_are_listed_as_a_table_up_to_the_limit(run: Run, store: Store) -> None:
    for number in range(5):
        run("track", f"event-{number}", "--session", "s")
    output = run("query", "events", "--limit", "3").output
    assert output.count("event-") == 3


def test_counts_are_asked_and_shown(run: Run, served: Running) -> None:
    count = pb.EventCount(group='"France"', events=1_234, users=5, value_sum=2.5, complete=True)
    served.servicer.answers = [pb.CountEventsResponse(counts=[count], time_zone="Europe/London")]
    options = ["--by", "property:country", "--start", "2011-06-01", "--end", "2011-07-01"]
    output = run(
        "query", "counts", *options, "--time-zone", "Europe/London", "--filter", "n=6", "--limit", "3"
    )
    assert "1,234" in output.output
    [request] = served.servicer.requests
    assert isinstance(request, pb.CountEventsRequest)
    assert request.time_range.start_time.ToDatetime() == datetime(2011, 5, 31, 23)  # noqa: DTZ001 — as UTC
    assert (request.group_property, request.page_size) == ("country", 3)
    assert request.filters[0].values[0].number_value == 6


def test_absent_numbers_are_null_in_json(run: Run, served: Running) -> None:
    top = pb.TopEvent(event="e", events=3, share_ratio=0.5, value_sum=0.0)
    served.servicer.answers = [pb.GetTopEventsResponse(top_events=[top], total_events=6)]
    row = json.loads(run("query", "top", "--json").output)
    assert row == {"event": "e", "events": 3, "share_ratio": 0.5, "users": None, "value_sum": 0.0}


def test_active_people_are_shown_in_local_time(run: Run, served: Running) -> None:
    active = pb.ActiveUsers(start_time=CHRISTMAS, end_time=CHRISTMAS, users=7)
    answer = pb.GetActiveUsersResponse(active_users=[active], time_zone="Asia/Kolkata")
    served.servicer.answers = [answer]
    assert "2011-12-25 05:30:00+05:30" in run("query", "active", "day").output
    [request] = served.servicer.requests
    assert isinstance(request, pb.GetActiveUsersRequest)
    assert not request.HasField("time_range")


def test_tables_speak_of_days_and_people(run: Run, served: Running) -> None:
    days = [Timestamp(seconds=CHRISTMAS.seconds + 86_400 * day - (day == 0)) for day in range(3)]
    counts = [pb.EventCount(start_time=day, events=1, users=2, value_sum=3.5) for day in days]
    served.servicer.answers = [pb.CountEventsResponse(counts=counts, time_zone="UTC")]
    told = run("query", "counts", "--interval", "day").output
    heading = told.splitlines()[1].replace("┃", " ")
    assert heading.split() == ["start", "events", "people", "value", "complete"]
    assert "2011-12-24 23:59:59+00:00" in told  # the range began within a day
    assert "2011-12-26 " in told
    assert "2011-12-26 00:00" not in told
    hours = [Timestamp(seconds=CHRISTMAS.seconds + 3_600 * hour) for hour in range(3)]
    served.servicer.answers = [
        pb.CountEventsResponse(counts=[pb.EventCount(start_time=hour) for hour in hours])
    ]
    assert "2011-12-25 00:00:00+00:00" in run("query", "counts", "--interval", "hour").output


def test_metrics_start_in_the_zone_that_was_asked(run: Run, served: Running) -> None:
    served.metrics.points = [MetricPoint(start_time=Timestamp(seconds=CHRISTMAS.seconds - 3_600), value=2)]
    assert "2011-12-25 " in run("query", "metrics", "dau", "--time-zone", "Europe/Berlin").output
    row = json.loads(run("query", "metrics", "dau", "--time-zone", "Europe/Berlin", "--json").output)
    assert row["start"] == "2011-12-25T00:00:00+01:00"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["counts", "--start", "2300-01-01"], "--start must lie before --end, which is now where"),
        (["top", "--start", "2011-01-02", "--end", "2011-01-01"], "--start must lie before --end\n"),
        (["events", "--end", "0001-01-02"], "must lie in the years 1 to 9999"),
        (["counts", "--interval", "hour", "--start", "2020-01-01"], "too far apart for one hour each"),
        (["metrics", "dau", "--start", "1980-01-01"], "--start and --end lie too far apart for one day each"),
        (["active", "day", "--start", "1980-01-01"], "--start and --end lie too far apart for one day each"),
    ],
)
def test_a_range_without_sense_is_told_by_the_options_that_make_it(
    run: Run, served: Running, options: list[str], complaint: str
) -> None:
    result = run("query", *options)
    assert (result.exit_code, served.servicer.requests) == (2, [])
    assert complaint in result.output


def test_counts_by_interval_and_group_come_over_as_many_pages_as_they_take(served: Running) -> None:
    hours = [Timestamp(seconds=CHRISTMAS.seconds + 3_600 * hour) for hour in range(3)]
    served.servicer.answers = [
        pb.CountEventsResponse(
            counts=[pb.EventCount(group=name, start_time=hour) for name in names for hour in hours],
            next_page_token=token,
        )
        for names, token in (("ab", "second"), ("cd", "third"), ("e", ""))
    ]
    start, end = datetime(2011, 12, 25, tzinfo=UTC), datetime(2011, 12, 25, 3, tzinfo=UTC)
    with Brain(served.address, "t") as brain:
        every = brain.count_events(start, end, interval="hour", by="event")
        assert "".join(count.group for count in every) == "aaabbbcccdddeee"
        tokens = [r.page_token for r in served.servicer.requests if isinstance(r, pb.CountEventsRequest)]
        assert tokens == ["", "second", "third"]
        served.servicer.requests.clear()
        three = brain.count_events(start, end, interval="hour", by="event", limit=3)
        assert "".join(count.group for count in three) == "aaabbbccc"
        assert len(served.servicer.requests) == 2


def test_the_client_asks_the_same_questions(served: Running) -> None:
    served.servicer.answers = [
        pb.GetActiveUsersResponse(active_users=[pb.ActiveUsers(users=7)]),
        pb.GetTopEventsResponse(top_events=[pb.TopEvent(event="e")]),
        pb.CountEventsResponse(counts=[pb.EventCount(events=3)]),
    ]
    start, end = datetime(2011, 12, 1, tzinfo=UTC), datetime(2011, 12, 9, tzinfo=UTC)
    with Brain(served.address, "t") as brain:
        assert brain.active_users("month") == 7
        assert [top.event for top in brain.top_events(start, end)] == ["e"]
        assert [count.events for count in brain.count_events(start, end, interval="week", by="event")] == [3]
        with pytest.raises(ValueError, match="period must be one of day, week, month, not 'year'"):
            brain.active_users("year")
    request = served.servicer.requests[-1]
    assert isinstance(request, pb.CountEventsRequest)
    assert request.interval == Interval.INTERVAL_WEEK
    assert request.group_by == pb.COUNT_GROUP_EVENT


def test_tokens_are_made_with_roles_and_an_end(token_keys: tuple[bytes, bytes], directory: Path) -> None:
    private_pem, public_pem = token_keys
    (directory / "key.pem").write_bytes(private_pem)
    options = ["--role", "ingest", "--role", "analyst", "--subject", "ana", "--days", "1", "--key", "key.pem"]
    made = CliRunner().invoke(main, ["tokens", "create", *options])
    caller = TokenVerifier(public_pem).verify(made.output.strip(), datetime.now(UTC).timestamp())
    assert (caller.subject, caller.roles) == ("ana", frozenset({Role.INGEST, Role.ANALYST}))
    assert caller.events_per_minute is None


def test_tokens_are_made_with_a_quota(token_keys: tuple[bytes, bytes], directory: Path) -> None:
    private_pem, public_pem = token_keys
    (directory / "key.pem").write_bytes(private_pem)
    options = ["--role", "ingest", "--subject", "shop", "--events-per-minute", "600", "--key", "key.pem"]
    made = CliRunner().invoke(main, ["tokens", "create", *options])
    caller = TokenVerifier(public_pem).verify(made.output.strip(), datetime.now(UTC).timestamp())
    assert caller.events_per_minute == 600
