"""Retention broken down by a property: for each value as if the start events were filtered by it."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_WEEK
from brain.events.v1 import retention_pb2 as pb

from services.events.rollups.compaction import compact
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.registering import fill, register
from tests.services.events.retention.histories import span
from tests.services.events.retention.test_selection import ANN, BOB, DEVICE, only, track

SEPTEMBER = span(date(2011, 9, 1), date(2011, 10, 1), ZoneInfo("UTC"))
CAT = {"user_id": "cat"}


@pytest.fixture
def stored(service: Service) -> Service:
    track(
        service,
        ("2011-08-20T10", "seen", "gold", ANN),
        ("2011-09-01T10", "seen", "gold", ANN),
        ("2011-09-01T11", "seen", "free", ANN),
        ("2011-09-01T12", "seen", "free", BOB),
        ("2011-09-02T10", "seen", "gold", BOB),
        ("2011-09-02T10", "bought", "gold", ANN),
        ("2011-09-03T10", "seen", "free", DEVICE),
        ("2011-09-04T10", "bought", "silver", DEVICE),
        ("2011-09-09T10", "seen", "silver", CAT),
    )
    return service


def asked(**changes: object) -> pb.GetRetentionRequest:
    request = {"interval": INTERVAL_DAY, "offset_days": [0, 1, 7], "time_range": SEPTEMBER, **changes}
    return pb.GetRetentionRequest(start_event="seen", **request)  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("interval", [INTERVAL_DAY, INTERVAL_WEEK])
@pytest.mark.parametrize("entry", [pb.RETENTION_ENTRY_RECURRING, pb.RETENTION_ENTRY_FIRST_EVER])
@pytest.mark.parametrize("mode", [pb.RETENTION_MODE_ON_DAY, pb.RETENTION_MODE_ON_OR_AFTER])
def test_each_value_is_answered_as_if_asked_for_alone(
    stored: Service,
    registered: bool,  # noqa: FBT001 - a column of the table
    interval: int,
    entry: int,
    mode: int,
) -> None:
    if registered:
        register(stored, "plan")
        fill(stored)
        compact(stored.engine)
    question = {"interval": interval, "entry": entry, "mode": mode}
    answer = stored.events.GetRetention(asked(group_property="plan", **question))
    assert [group.group for group in answer.groups] == ['"free"', '"gold"', '"silver"']
    assert not answer.has_more_groups
    for group in answer.groups:
        alone = stored.events.GetRetention(asked(start_filters=only(group.group.strip('"')), **question))
        assert (group.cohorts, group.averages) == (alone.cohorts, alone.averages)
    everybody = stored.events.GetRetention(asked(**question))
    assert (answer.cohorts, answer.averages) == (everybody.cohorts, everybody.averages)
    assert not everybody.groups


def test_start_events_without_the_property_are_a_group(stored: Service) -> None:
    answer = stored.events.GetRetention(asked(group_property="colour"))
    [group] = answer.groups
    assert not group.HasField("group")
    assert group.cohorts == answer.cohorts


def test_no_more_values_than_asked_for_are_answered(stored: Service) -> None:
    answer = stored.events.GetRetention(asked(group_property="plan", group_limit=1))
    assert ([group.group for group in answer.groups], answer.has_more_groups) == (['"free"'], True)


def test_bad_break_downs_are_refused(stored: Service) -> None:
    refused = refusal(lambda: stored.events.GetRetention(asked(group_limit=3)))
    assert refused.fields.keys() == {"group_limit"}
    refused = refusal(lambda: stored.events.GetRetention(asked(group_property="a..b", group_limit=101)))
    assert refused.fields.keys() == {"group_property", "group_limit"}
