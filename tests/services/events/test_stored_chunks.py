"""ScanEvents: columns that are stored beside the events say what the events say, or are not read."""

from typing import TYPE_CHECKING

import pytest
from brain.events.v1 import events_pb2 as pb
from brain.events.v1 import identity_pb2
from brain.privacy.v1 import privacy_pb2

from services.events.raw_retention import RawRetention
from services.events.reading.chunk_storing import ChunkStorer
from services.events.rollups.compaction import compact
from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_events
from tests.services.events.scans import (
    DAY_SECONDS,
    SOME_DAY,
    known,
    on_day,
    revisions,
    scan,
    track,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("unmerged", "still")

NOW = Clock.micros
DAY_MICROS = DAY_SECONDS * 1_000_000


def store(service: Service, now: int = NOW, earliest: int | None = None) -> None:
    """Store whatever is not, or not current."""
    while compact(service.engine):
        pass
    storer = ChunkStorer(service.engine, least_events=1, renewal_seconds=-1)
    while storer.step(now, earliest):
        pass


def stored(service: Service) -> dict[tuple[str, int], int]:
    with service.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT event, day, revision FROM stored_chunks")
        return {(event, day): revision % 2**64 for event, day, revision in rows}


def spoil(service: Service) -> None:
    """Empty the stored columns, so that whoever reads them is found out."""
    with service.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE stored_chunks SET user_keys = '', event_times = '', amounts = ''")


def read_rows(service: Service) -> list[pb.ScanEventsResponse]:
    """What the events themselves say: scans with properties never read stored columns."""
    found = scan(service, with_value=True, properties=["none"])
    for message in found:
        message.ClearField("properties")
    return found


def test_stored_columns_are_what_the_events_say(service: Service) -> None:
    sent = made_events(range(400))
    for number, event in enumerate(sent):
        if number % 3:
            event.ClearField("value")
    track(service, sent)
    expected = read_rows(service)
    assert scan(service, with_value=True) == expected
    store(service)
    assert stored(service) == revisions(service)
    assert scan(service, with_value=True) == expected
    without = scan(service)
    assert [(each.user_keys, each.event_times) for each in without] == [
        (each.user_keys, each.event_times) for each in expected
    ]
    assert not any(each.values for each in without)
    held = known({(each.event, each.day): each.revision for each in expected[::2]})
    changed = scan(service, with_value=True, known_chunks=held, omit_unchanged=True)
    assert changed == expected[1::2]
    spoil(service)
    assert not any(each.user_keys for each in scan(service)), "stored columns are read"
    assert read_rows(service) == expected, "and not where properties are asked for"


def erase(service: Service, name: str, mode: "privacy_pb2.ErasureMode.ValueType") -> None:
    who = pb.UserReference(kind=pb.USER_KIND_USER, id=name)
    service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=who, mode=mode))


def test_whatever_changes_the_events_is_in_the_next_scan(service: Service) -> None:
    track(service, made_events(range(300)))
    track(service, [on_day(number) for number in range(40)])
    device = on_day(50, anonymous_id="device")
    device.user_id = ""
    track(service, [device])
    link = identity_pb2.LinkUserRequest(user_id="user-1", anonymous_id="device")
    changes: list[Callable[[], object]] = [
        lambda: track(service, [on_day(60), on_day(61, SOME_DAY + 1)]),
        lambda: erase(service, "user-3", privacy_pb2.ERASURE_MODE_ANONYMIZE),
        lambda: service.events.LinkUser(link),
        lambda: erase(service, "user-1", privacy_pb2.ERASURE_MODE_ERASE),
        lambda: track(service, [on_day(64), on_day(65), on_day(66, SOME_DAY + 2)]),
    ]
    for change in changes:
        store(service)
        before = scan(service, with_value=True)
        change()
        now = scan(service, with_value=True)
        assert now == read_rows(service)
        assert now != before
        compact(service.engine)
        assert scan(service, with_value=True) == now


def test_erasing_somebody_deletes_the_columns_that_held_their_events(service: Service) -> None:
    track(service, [on_day(1), on_day(2), on_day(1, SOME_DAY + 1), on_day(2, SOME_DAY + 2)])
    store(service)
    assert stored(service).keys() == {("viewed", SOME_DAY + more) for more in range(3)}
    erase(service, "user-1", privacy_pb2.ERASURE_MODE_ERASE)
    assert stored(service).keys() == {("viewed", SOME_DAY + 2)}


def test_days_that_are_not_over_are_not_stored(service: Service) -> None:
    track(service, [on_day(1), on_day(1, SOME_DAY + 1)])
    store(service, now=(SOME_DAY + 2) * DAY_MICROS - 1)
    assert stored(service).keys() == {("viewed", SOME_DAY)}
    store(service, now=(SOME_DAY + 2) * DAY_MICROS)
    assert len(stored(service)) == 2


def test_a_chunk_is_made_again_once_it_is_old_enough(service: Service) -> None:
    track(service, [on_day(1)])
    store(service)
    before = stored(service)
    track(service, [on_day(2)])
    while compact(service.engine):
        pass
    patient = ChunkStorer(service.engine, least_events=1)
    while patient.step(NOW, None):
        pass
    assert stored(service) == before
    store(service)
    assert stored(service) == revisions(service) != before


def test_chunks_of_few_events_are_not_stored(service: Service) -> None:
    track(service, [*map(on_day, range(5)), on_day(1, SOME_DAY + 1)])
    while compact(service.engine):
        pass
    storer = ChunkStorer(service.engine, least_events=5)
    while storer.step(NOW, None):
        pass
    assert stored(service).keys() == {("viewed", SOME_DAY)}


def test_stored_columns_go_with_the_raw_events(service: Service) -> None:
    old = on_day(1, SOME_DAY - 60)
    track(service, [old, on_day(2)])
    store(service)
    assert len(stored(service)) == 2
    retention = RawRetention(2)
    now = (SOME_DAY + 34) * DAY_MICROS
    retention.drop(service.engine, now)
    assert stored(service).keys() == {("viewed", SOME_DAY)}
    store(service, now, retention.earliest(now))
    assert stored(service).keys() == {("viewed", SOME_DAY)}, "nor are they made again"


def test_small_messages_come_together_where_asked(service: Service) -> None:
    track(service, made_events(range(300)))
    alone = scan(service, with_value=True)
    [together] = scan(service, with_value=True, group_chunks=True)
    assert list(together.chunks) == alone
    assert pb.ScanEventsResponse(chunks=together.chunks) == together
