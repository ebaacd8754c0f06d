"""Who is who at a real events service: asked for once, kept, asked for again where it may have changed."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, cast

import pytest
from brain.events.v1 import events_pb2
from brain.events.v1.identity_pb2 import LinkUserRequest

from services.experiments.results.feeds import EventFeeds
from services.experiments.results.scanning import Scanner
from services.experiments.results.warming import WARMING_SECONDS, warming
from shared.auth import Role, mint_token
from shared.chores import Chore
from shared.deadlines import set_remaining
from shared.encryption import BlindIndex, Keyring
from shared.errors import DeadlineExceeded
from shared.people import UserDictionary
from shared.who import PersonKind
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events
from tests.services.experiments.asking import assign_all, create, definition, results, start
from tests.services.experiments.asking_who import Asker, Counted
from tests.services.experiments.conftest import KEY, Service
from tests.services.experiments.recounting import of
from tests.services.experiments.test_feeds import FED, bought, track

if TYPE_CHECKING:
    from sqlalchemy import QueuePool

ANN, BOB, CYD = ((PersonKind.USER, name) for name in ("ann", "bob", "cyd"))
VISITOR = (PersonKind.ANONYMOUS, "visitor")


@pytest.fixture
def events(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[EventsService]:
    with running_events(events_database, clock, token_keys[0], public_key_file) as service:
        yield service


@pytest.fixture
def events_token(token_keys: tuple[bytes, bytes], tmp_path: Path) -> Path:
    token = tmp_path / "events.token"
    token.write_text(mint_token(token_keys[0], "experiments", [Role.ANALYST], None, 0))
    return token


@pytest.fixture
def make(service: Service, events: EventsService) -> Callable[[], Asker]:
    users = UserDictionary(service.engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY))
    return lambda: Asker(Counted(events), users)


def theirs(events: EventsService, name: str) -> int:
    reference = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=name)
    [found] = events.events.ResolveUsers(events_pb2.ResolveUsersRequest(users=[reference])).users
    return found.user_key


def test_users_are_asked_for_once_and_by_one_replica(
    make: Callable[[], Asker], events: EventsService, clock: Clock
) -> None:
    track(events, bought(1, "ann", clock.micros), bought(2, "bob", clock.micros))
    first, second = make(), make()
    assert first.keys(ANN, BOB, CYD) == [theirs(events, "ann"), theirs(events, "bob"), 0]
    assert first.asked() == 3
    assert first.keys(CYD, BOB) == [0, theirs(events, "bob")]
    assert first.asked() == 0
    assert second.keys(ANN, BOB) == [theirs(events, "ann"), theirs(events, "bob")]
    assert second.asked() == 2  # the check of those with the highest keys


def test_whoever_is_unknown_is_found_when_strangers_turn_up(
    make: Callable[[], Asker], events: EventsService, clock: Clock
) -> None:
    asker = make()
    assert asker.keys(ANN, BOB, CYD) == [0, 0, 0]
    asker.asked()
    track(events, bought(1, "bob", clock.micros), bought(2, "somebody else", clock.micros))
    bob, else_ = theirs(events, "bob"), theirs(events, "somebody else")
    assert not asker.introduce([ANN, BOB, CYD], [else_])
    assert asker.introduce([ANN, BOB, CYD], [bob, else_])
    assert asker.asked() == 3  # strangers by their keys, fewer than the unknown
    assert asker.keys(ANN, BOB, CYD) == [0, bob, 0]
    track(events, bought(3, "ann", clock.micros))
    assert asker.introduce([ANN, BOB, CYD], [theirs(events, "ann"), else_, else_ + 1])
    assert asker.asked() == 2  # the unknown by their ids
    assert asker.keys(ANN, BOB, CYD) == [theirs(events, "ann"), bob, 0]


def test_a_merge_is_followed_after_a_minute(
    make: Callable[[], Asker], events: EventsService, clock: Clock
) -> None:
    track(events, bought(1, "", clock.micros, anonymous_id="visitor"), bought(2, "ann", clock.micros))
    asker = make()
    visitor, ann = asker.keys(VISITOR, ANN)
    assert visitor not in {0, ann}
    events.events.LinkUser(LinkUserRequest(anonymous_id="visitor", user_id="ann"))
    assert asker.keys(VISITOR, ANN) == [visitor, ann]
    deadline = time.monotonic() + 20
    while asker.keys(VISITOR, ANN) != [ann, ann]:
        assert time.monotonic() < deadline
        asker.seconds += 61


def test_merges_are_looked_for_less_often_where_that_takes_long(
    make: Callable[[], Asker], events: EventsService, clock: Clock
) -> None:
    track(events, bought(1, "", clock.micros, anonymous_id="visitor"))
    asker = make()

    def take_half_a_minute() -> None:
        asker.seconds += 30

    asker.counted.look = take_half_a_minute
    asker.keys(VISITOR)
    for pause, asked in ((0, 1), (200, 0), (101, 1), (260, 0), (11, 1)):
        asker.seconds += pause
        asker.keys(VISITOR)
        assert asker.asked() == asked


def test_nobody_waits_longer_for_who_is_who_than_their_caller_does(make: Callable[[], Asker]) -> None:
    asker, asking, may_end = make(), Event(), Event()
    bob = asker.ours(BOB)

    def hold_up() -> None:
        asking.set()
        assert may_end.wait(20)

    def ask_shortly() -> None:
        set_remaining(0.01)
        asker.identities.keys(bob)

    asker.counted.look = hold_up
    with ThreadPoolExecutor(1) as background:
        slow = background.submit(asker.keys, ANN)
        try:
            assert asking.wait(20)
            with pytest.raises(DeadlineExceeded):
                copy_context().run(ask_shortly)
        finally:
            may_end.set()
        assert slow.result(20) == [0]


def test_keys_of_another_history_are_forgotten(
    make: Callable[[], Asker], service: Service, events: EventsService, clock: Clock
) -> None:
    track(events, bought(1, "ann", clock.micros), bought(2, "bob", clock.micros))
    before = make().keys(ANN, BOB)
    with service.engine.begin() as connection:  # as after a restore of the other database
        connection.exec_driver_sql("UPDATE event_identities SET event_user_key = event_user_key + 1000")
    assert make().keys(ANN, BOB) == before


def test_whoever_is_erased_leaves(
    make: Callable[[], Asker], service: Service, events: EventsService, clock: Clock
) -> None:
    track(events, bought(1, "ann", clock.micros), bought(2, "bob", clock.micros))
    asker = make()
    asker.keys(ANN, BOB)
    with service.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM users WHERE user_key = {asker.ours(ANN)[0]}")
        kept = connection.exec_driver_sql("SELECT user_key FROM event_identities").scalars().all()
    assert kept == asker.ours(BOB).tolist()


def test_who_is_who_is_asked_with_no_transaction_open(
    make: Callable[[], Asker], service: Service, events: EventsService, clock: Clock
) -> None:
    create(service)
    start(service)
    assign_all(service, ["ann", "bob"])
    asker = make()
    open_meanwhile = []
    pool = cast("QueuePool", service.engine.pool)
    asker.counted.look = lambda: open_meanwhile.append(pool.checkedout())
    feeds = EventFeeds(Scanner(events.events, lambda: clock.micros), asker.identities)
    assert feeds.conflicting(service.engine, of(service)) == []
    assert asker.asked() == 2
    assert open_meanwhile == [0]


def test_who_did_events_since_is_asked_with_no_transaction_open(
    make: Callable[[], Asker],
    service: Service,
    start_service: Callable[..., Service],
    events: EventsService,
    events_token: Path,
    clock: Clock,
) -> None:
    address = f"127.0.0.1:{events.application.server.port}"
    fed = start_service(events_address=address, events_token_file=events_token)
    create(fed, what=definition(metrics=FED[:1]))
    start(fed)
    assign_all(fed, ["ann", "bob"])
    asker = make()
    feeds = EventFeeds(Scanner(events.events, lambda: clock.micros), asker.identities)
    feeds.conflicting(service.engine, of(service))
    track(events, bought(1, "ann", clock.micros), bought(2, "bob", clock.micros))
    asker.asked()
    feeds.conflicting(service.engine, of(service))
    assert asker.asked() == 2
    with service.engine.begin() as connection:
        sums = feeds.sums(connection, of(service), of(service).metrics)
    assert asker.asked() == 0
    assert sum(each.converted for each in sums.values()) == 2


def meeting_500(service: Service, asker: Asker, clock: Clock, now: Callable[[], float]) -> Chore:
    """Assign 500 people; return the chore that gets to know them."""
    create(service)
    start(service)
    assign_all(service, [f"u-{number}" for number in range(500)])
    feeds = EventFeeds(Scanner(asker.counted.service.events, lambda: clock.micros), asker.identities)
    return warming(service.engine, service.application.catalogue, feeds, now)


def test_many_newcomers_are_asked_for_bit_by_bit(
    make: Callable[[], Asker], service: Service, clock: Clock
) -> None:
    asker = make()
    chore = meeting_500(service, asker, clock, time.monotonic)
    for asked in (100, 200, 200):
        assert chore.run() < WARMING_SECONDS
        assert asker.asked() == asked
    assert chore.run() >= WARMING_SECONDS
    assert asker.asked() == 0


def test_newcomers_without_end_keep_nobody_waiting_for_ever(
    make: Callable[[], Asker], service: Service, clock: Clock
) -> None:
    asker = make()
    chore = meeting_500(service, asker, clock, lambda: asker.seconds)
    chore.run()
    assert asker.asked() == 100
    asker.seconds += 301
    assert chore.run() >= WARMING_SECONDS
    assert asker.asked() == 400


def test_those_who_come_late_count(
    start_service: Callable[..., Service], events: EventsService, events_token: Path, clock: Clock
) -> None:
    address = f"127.0.0.1:{events.application.server.port}"
    service = start_service(events_address=address, events_token_file=events_token)
    create(service, what=definition(metrics=FED[:1]))
    start(service)

    def converted() -> int:
        return sum(each.converted for each in results(service).metrics[0].variants)

    number = 0
    for wave in range(4):
        assign_all(service, [f"u-{wave}-{each}" for each in range(5)])
        assert converted() == 2 * wave
        for name in (f"u-{wave}-0", f"u-{wave}-1", f"stranger-{wave}"):
            number += 1
            track(events, bought(number, name, clock.micros))
        assert converted() == 2 * (wave + 1)
