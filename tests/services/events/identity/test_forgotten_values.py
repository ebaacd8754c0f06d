"""What a registered property said of the erased is forgotten, and may be said again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from brain.events.v1 import events_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from services.events.value_rollups.forgetting import forget_values
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import ALL_TIME, event, track
from tests.services.events.identity.searching import found
from tests.services.events.registering import READY, fill, fold, listed, mismatches, register
from tests.waiting import until

SECRET = b"ann@example.org"


@pytest.fixture
def reader(events_database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(events_database, autocommit=True) as connection:
        yield connection


def told(name: str, user: str, mail: str) -> pb.Event:
    made = event(name, user=user)
    made.properties_json = f'{{"mail": "{mail}"}}'
    return made


def erase(service: Service, name: str) -> None:
    user = pb.UserReference(kind=pb.USER_KIND_USER, id=name)
    service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=user, mode=privacy_pb2.ERASURE_MODE_ERASE))


@pytest.mark.parametrize("is_folded", [False, True])
def test_nothing_says_what_the_erased_had_told(
    service: Service, reader: "psycopg.Connection[Any]", *, is_folded: bool
) -> None:
    register(service, "mail")
    until(lambda: listed(service) == {("mail", ""): READY})
    track(service, told("a", "ann", SECRET.decode()), told("b", "bob", "bob@example.org"))
    if is_folded:
        until(lambda: reader.execute("SELECT FROM value_days").fetchone() is not None)
    assert "property_values.value_text" in found(reader, [SECRET])
    erase(service, "ann")
    until(lambda: found(reader, [SECRET]) == [])
    assert "property_values.value_text" in found(reader, [b"bob@example.org"])


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_value_that_somebody_else_tells_counts(
    by_hand: None,
    start_service: Callable[..., Service],
    reader: "psycopg.Connection[Any]",
    *,
    is_folded: bool,
) -> None:
    first, second = start_service(), start_service()
    register(first, "mail")
    fill(first)
    for replica, who in ((first, "ann"), (second, "ann-2")):  # both know the value's key
        track(replica, told(who, who, SECRET.decode()))
        if is_folded:
            fold(first)
    assert forget_values(first.engine, 0) == 0, "nobody was erased"
    for who in ("ann", "ann-2"):
        erase(first, who)
    assert forget_values(first.engine, 0) == 0, "what waits to be folded names the value"
    assert mismatches(first, 1) == []
    fold(first)
    position = forget_values(first.engine, 0)
    assert position > 0
    assert found(reader, [SECRET]) == []
    for replica in (first, second):
        assert track(replica, told(f"c-{id(replica)}", "carol", SECRET.decode())).accepted == 1
        assert mismatches(first, 1) == []
    fold(first)
    assert mismatches(first, 1) == []
    assert forget_values(first.engine, position) == position


def test_nobody_s_event_is_lost_while_values_are_forgotten(by_hand: None, service: Service) -> None:
    register(service, "mail")
    fill(service)
    track(service, told("a", "ann", "mail-0"))
    erase(service, "ann")

    def write(number: int) -> None:
        for repeat in range(30):
            track(service, told(f"{number}-{repeat}", "bob", f"mail-{repeat % 7}"))

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(2)]
        while not all(writer.done() for writer in writers):
            forget_values(service.engine, 0)
            fold(service)
        for writer in writers:
            writer.result()
    assert mismatches(service, 1) == []
    fold(service)
    assert mismatches(service, 1) == []
    values = service.events.CountEvents(
        pb.CountEventsRequest(time_range=ALL_TIME, group_by=pb.COUNT_GROUP_PROPERTY, group_property="mail")
    ).counts
    assert sum(each.events for each in values) == 60
