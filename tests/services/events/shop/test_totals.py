"""The shop's people, products and money over the whole year, exact to the penny."""

from datetime import UTC, datetime

import pytest
from brain.events.v1 import events_pb2 as pb

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import WHOLE, count, time_range
from tests.services.events.shop.conftest import Imported
from tests.services.events.shop.lines import Count


def test_the_file_is_the_one_these_figures_are_known_of() -> None:
    assert lines.count(lines.visits()) == Count(541_909, 4_372, 9_747_747.93)
    assert lines.count(lines.visits(), sessions=True).users == 8_082
    assert len({line.invoice for line in lines.lines()}) == 25_900
    assert lines.counted_by(lambda visit: visit.event)["item_purchased"].value_sum == 10_644_560.42


def test_every_line_is_stored_once_however_often_it_is_imported(imported: Imported) -> None:
    assert imported.outcomes == [(541_909, 0, 0), (0, 541_909, 0)]


@pytest.mark.parametrize(("sessions", "users"), [(False, 4_372), (True, 8_082)])
def test_people_and_actors_are_counted(shop: Service, users: int, *, sessions: bool) -> None:
    answer = shop.events.CountEvents(pb.CountEventsRequest(time_range=WHOLE, include_sessions=sessions))
    assert [count(each) for each in answer.counts] == [Count(541_909, users, 9_747_747.93)]
    assert not answer.next_page_token


@pytest.mark.parametrize("with_users", [False, True])
def test_top_events_have_their_counts_shares_and_money(shop: Service, *, with_users: bool) -> None:
    answer = shop.events.GetTopEvents(pb.GetTopEventsRequest(time_range=WHOLE, with_users=with_users))
    expected = lines.counted_by(lambda visit: visit.event)
    assert [each.event for each in answer.top_events] == ["item_purchased", "item_returned"]
    for each in answer.top_events:
        told = expected[each.event]
        assert (each.events, each.value_sum) == (told.events, told.value_sum)
        assert each.share_ratio == told.events / 541_909
        assert each.HasField("users") == with_users
        assert not with_users or each.users == told.users
    assert answer.top_events[0].value_sum == 10_644_560.42
    assert answer.total_events == 541_909


def test_top_events_of_a_limit_and_a_category(shop: Service) -> None:
    answer = shop.events.GetTopEvents(pb.GetTopEventsRequest(time_range=WHOLE, category="revenue", limit=1))
    assert [each.event for each in answer.top_events] == ["item_purchased"]
    assert answer.total_events == 541_909
    other = shop.events.GetTopEvents(pb.GetTopEventsRequest(time_range=WHOLE, category="other"))
    assert (list(other.top_events), other.total_events) == ([], 0)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2011, 11, 8, 9, 7, 13, tzinfo=UTC), datetime(2011, 11, 8, 17, 41, tzinfo=UTC)),
        (datetime(2011, 11, 8, 9, 7, 13, tzinfo=UTC), datetime(2011, 11, 10, 17, 41, tzinfo=UTC)),
        (datetime(2010, 12, 6, 12, 30, tzinfo=UTC), datetime(2011, 10, 31, 12, 30, 1, tzinfo=UTC)),
        (datetime(2011, 11, 8, 12, 5, tzinfo=UTC), datetime(2011, 11, 8, 12, 6, tzinfo=UTC)),
        (datetime(2011, 11, 8, 11, tzinfo=UTC), datetime(2011, 11, 8, 12, tzinfo=UTC)),
        (datetime(2011, 11, 8, 11, tzinfo=UTC), datetime(2011, 11, 11, 9, tzinfo=UTC)),
    ],
)
def test_ranges_may_begin_and_end_anywhere(shop: Service, start: datetime, end: datetime) -> None:
    span = time_range(start, end)
    inside = lines.between(start, end)
    assert inside
    [people] = shop.events.CountEvents(pb.CountEventsRequest(time_range=span)).counts
    assert count(people) == lines.count(inside)
    [actors] = shop.events.CountEvents(pb.CountEventsRequest(time_range=span, include_sessions=True)).counts
    assert count(actors) == lines.count(inside, sessions=True)
    by_event = shop.events.CountEvents(
        pb.CountEventsRequest(time_range=span, group_by=pb.COUNT_GROUP_EVENT)
    ).counts
    assert {each.group: count(each) for each in by_event} == lines.counted_by(
        lambda visit: visit.event, inside
    )


def test_a_range_before_all_events_is_empty_and_present(shop: Service) -> None:
    span = time_range(datetime(2009, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC))
    [total] = shop.events.CountEvents(pb.CountEventsRequest(time_range=span)).counts
    assert count(total) == Count(0, 0, 0)
    assert total.complete
