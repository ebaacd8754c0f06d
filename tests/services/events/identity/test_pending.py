"""Between the moment a merge is in the log and the moment its events are moved."""

from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.events.domain import Change, ChangeKind
from services.events.identity.merging import Decision, Merger, Request, decide
from services.events.identity.moving import Mover, first_alike
from services.events.rollups.cover import ReportingCalendar
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import counted, event, ids, listed, track
from tests.services.events.recount import recount


@pytest.fixture
def idle(start_service: Callable[..., Service]) -> Service:
    """A replica that moves nothing by itself."""
    service = start_service()
    service.application.housekeeper.stop()
    return service


@pytest.fixture
def mover(idle: Service) -> Mover:
    return Mover(idle.engine, ReportingCalendar(ZoneInfo("UTC")))


@pytest.fixture
def reader(events_database: str) -> Iterator["psycopg.Connection[object]"]:
    with psycopg.connect(events_database, autocommit=True) as connection:
        yield connection


def test_a_retry_is_a_duplicate_wherever_its_event_is(
    idle: Service, mover: Mover, reader: "psycopg.Connection[object]"
) -> None:
    track(idle, event("a", anonymous="d"), event("b", anonymous="d"))
    track(idle, event("c", user="u", anonymous="d"))
    assert Merger(idle.engine, mover).settle() == 1
    again = event("a", anonymous="d"), event("n", anonymous="d"), event("b", user="u")
    assert track(idle, *again).accepted == 1
    assert counted(idle) == (4, 2)
    assert recount(reader, "UTC").mismatches == []
    mover.step()
    assert track(idle, *again).duplicates == 3
    assert recount(reader, "UTC").mismatches == []
    assert counted(idle) == (4, 1)
    assert ids(listed(idle, user_id="u")) == ["a", "b", "c", "n"]


def test_several_merges_are_moved_at_once(
    idle: Service, mover: Mover, reader: "psycopg.Connection[object]"
) -> None:
    for number in range(6):
        track(idle, event("same", anonymous=f"d-{number}"), event(f"e-{number}", anonymous=f"d-{number}"))
        track(idle, event(f"f-{number}", user=f"u-{number // 3}", anonymous=f"d-{number}"))
    assert counted(idle) == (18, 8)
    assert Merger(idle.engine, mover).settle() == 6
    assert mover.step() == 6
    assert counted(idle) == (14, 2)  # of the six that were the same, one is left for each user
    assert recount(reader, "UTC").mismatches == []
    assert mover.step() == 0


requests = st.lists(st.tuples(st.integers(1, 3), st.integers(11, 13)), max_size=6, unique=True)


@settings(max_examples=300)
@given(
    pairs=requests, owners=st.dictionaries(st.integers(1, 3), st.integers(11, 13)), gone=st.integers(0, 13)
)
def test_each_anonymous_id_goes_to_the_first_who_asks(
    pairs: list[tuple[int, int]], owners: dict[int, int], gone: int
) -> None:
    decision = decide([Request(a, u, owners.get(a), gone not in {a, u}) for a, u in pairs])
    assert sorted(decision.merges + decision.refused + decision.void) == sorted(pairs)
    final = dict(owners)
    for anonymous, user in pairs:
        if gone in {anonymous, user}:
            assert (anonymous, user) in decision.void
        elif final.setdefault(anonymous, user) != user:
            assert (anonymous, user) in decision.refused
        elif owners.get(anonymous) == user:
            assert (anonymous, user) in decision.void
        else:
            assert (anonymous, user) in decision.merges


def test_nothing_is_decided_of_nothing() -> None:
    assert decide([]) == Decision([], [], [])


def test_what_one_statement_can_do_ends_where_the_kind_changes() -> None:
    merge, erase = (Change(1, ChangeKind.MERGE, 1, 2, True), Change(2, ChangeKind.ERASE, 2, None, True))
    anonymise = Change(3, ChangeKind.ERASE, 3, 4, True)
    assert first_alike([merge, merge, erase]) == [merge, merge]
    assert first_alike([erase, anonymise]) == [erase]
    assert first_alike([anonymise, merge]) == [anonymise]
    assert first_alike([]) == []
