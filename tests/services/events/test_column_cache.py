"""The column cache: always current, bounded, safe between threads."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy

from services.events.domain import Condition, Operator
from services.events.reading.chunk_revisions import ChunkName
from services.events.reading.column_cache import ColumnCache, Step
from services.events.reading.columns import Columns
from services.events.reading.scanning import Chunk, Scan, Scanner
from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.scans import SOME_DAY, on_day, track

DAYS = (SOME_DAY, SOME_DAY + 5)
VIEWED = Step("viewed")
PLENTY = 2**20


class CountingScanner(Scanner):
    """The real one; remembers which chunks came with their columns."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        super().__init__(engine)
        self.sent: list[int] = []

    def scan(self, scan: Scan, known: Mapping[ChunkName, int]) -> Iterator[Chunk]:
        for chunk in super().scan(scan, known):
            if not chunk.unchanged:
                self.sent.append(chunk.day)
            yield chunk

    def sent_days(self) -> list[int]:
        """Return the days sent since the last time."""
        sent, self.sent = self.sent, []
        return sorted(sent)


@pytest.fixture
def scanner(service: Service) -> CountingScanner:
    """Three events on each of five days."""
    track(service, [on_day(number, day) for day in range(*DAYS) for number in range(3)])
    return CountingScanner(service.engine)


def rows(columns: Columns) -> list[tuple[int, int]]:
    return list(zip(columns.user_keys.tolist(), columns.times.tolist(), strict=True))


def fresh(service: Service, step: Step, days: tuple[int, int] = DAYS) -> list[tuple[int, int]]:
    return rows(ColumnCache(Scanner(service.engine), 0).read(step, days))


def test_columns_are_those_of_all_days_by_user_and_time(service: Service, scanner: CountingScanner) -> None:
    found = rows(ColumnCache(scanner, PLENTY).read(VIEWED, DAYS))
    assert len(found) == 15
    assert found == sorted(found)


def test_a_late_event_is_read_again_with_its_day_and_no_other(
    service: Service, scanner: CountingScanner
) -> None:
    cache = ColumnCache(scanner, PLENTY)
    cache.read(VIEWED, DAYS)
    assert scanner.sent_days() == list(range(*DAYS))
    cache.read(VIEWED, DAYS)
    assert scanner.sent_days() == []
    track(service, [on_day(7, SOME_DAY + 2)])
    assert rows(cache.read(VIEWED, DAYS)) == fresh(service, VIEWED)
    assert scanner.sent_days() == [SOME_DAY + 2]
    while compact(service.engine):
        pass
    assert len(cache.read(VIEWED, DAYS)) == 16
    assert scanner.sent_days() == []


def test_a_day_that_lost_its_events_is_forgotten(service: Service, scanner: CountingScanner) -> None:
    cache = ColumnCache(scanner, PLENTY)
    cache.read(VIEWED, DAYS)
    with service.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE events, event_deltas, event_hours, event_days")
    assert len(cache.read(VIEWED, DAYS)) == 0
    track(service, [on_day(1)])
    assert len(cache.read(VIEWED, DAYS)) == 1


def test_parts_of_a_range_are_shared(scanner: CountingScanner) -> None:
    cache = ColumnCache(scanner, PLENTY)
    cache.read(VIEWED, (SOME_DAY + 1, SOME_DAY + 3))
    scanner.sent_days()
    cache.read(VIEWED, DAYS)
    assert scanner.sent_days() == [SOME_DAY, SOME_DAY + 3, SOME_DAY + 4]


def test_filters_and_properties_never_mix(service: Service, scanner: CountingScanner) -> None:
    flags = ("1", "true", '"1"')
    track(
        service,
        [on_day(20 + number, properties_json=f'{{"a": {flag}}}') for number, flag in enumerate(flags)],
    )
    cache = ColumnCache(scanner, PLENTY)
    steps = [Step("viewed", (Condition(("a",), Operator.EQUALS, (value,)),)) for value in (1, True, "1", 1.0)]
    steps += [Step("viewed", (Condition((path,), Operator.EXISTS),)) for path in ("a", "b")]
    steps += [Step("viewed"), Step("viewed", (), ("a",)), Step("viewed", (), ("b",))]
    for _ in range(2):
        found = [cache.read(step, DAYS) for step in steps]
        assert [len(each) for each in found] == [1, 1, 1, 1, 3, 0, 18, 18, 18]
        assert [rows(each) for each in found] == [fresh(service, step) for step in steps]
        assert len({found[index].times[0] for index in range(3)}) == 3
        assert [each.texts for each in found] == [()] * 7 + [('"1"', "1", "true"), ()]
    assert found[6].codes is None
    assert found[7].codes is not None
    assert sorted(found[7].codes.tolist()) == [-1] * 15 + [0, 1, 2]


def test_no_more_is_kept_than_allowed_and_what_was_used_last_stays(scanner: CountingScanner) -> None:
    one = ColumnCache(scanner, PLENTY)
    one.read(VIEWED, (SOME_DAY, SOME_DAY + 1))
    size = one.held_bytes
    assert size > 3 * 12
    cache = ColumnCache(scanner, 3 * size)
    for day in range(3):
        cache.read(VIEWED, (SOME_DAY + day, SOME_DAY + day + 1))
    cache.read(VIEWED, (SOME_DAY, SOME_DAY + 1))
    cache.read(VIEWED, (SOME_DAY + 3, SOME_DAY + 4))  # the second day goes
    assert cache.held_bytes == 3 * size
    scanner.sent_days()
    for day, sent in ((0, []), (2, []), (3, []), (1, [SOME_DAY + 1])):
        cache.read(VIEWED, (SOME_DAY + day, SOME_DAY + day + 1))
        assert scanner.sent_days() == sent


@pytest.mark.parametrize("maximum", [0, 1_000])
def test_a_question_larger_than_the_cache_is_answered(
    service: Service, scanner: CountingScanner, maximum: int
) -> None:
    cache = ColumnCache(scanner, maximum)
    for _ in range(2):
        assert rows(cache.read(VIEWED, DAYS)) == fresh(service, VIEWED)
        assert cache.held_bytes <= maximum


def test_nobody_can_write_to_what_is_kept(scanner: CountingScanner) -> None:
    cache = ColumnCache(scanner, PLENTY)
    first = cache.read(VIEWED, DAYS)
    first.times[:] = 0  # its own copy
    assert cache.read(VIEWED, DAYS).times.all()


def test_readers_beside_writers_see_every_event_stored_before_they_asked(
    service: Service, scanner: CountingScanner
) -> None:
    """With room for some chunks only, so that they come and go all the time."""
    cache = ColumnCache(scanner, 3_000)
    rounds = 12

    def read(reader: int) -> None:
        filtered = Step("viewed", (Condition(("a",), Operator.EXISTS),))
        least = 0
        for step in [VIEWED, Step("viewed", (), ("a",))] * rounds:
            found = rows(cache.read(step, DAYS))
            assert found == sorted(found)
            assert len(found) >= least
            least = len(found)
            cache.read(filtered, (SOME_DAY + reader, DAYS[1]))

    def write() -> None:
        for number in range(rounds):
            track(service, [on_day(30 + number, SOME_DAY + number % 5, properties_json='{"a": 1}')])
            expected = 15 + number + 1
            assert len(cache.read(VIEWED, DAYS)) == expected

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(write), *(threads.submit(read, reader) for reader in range(3))]:
            done.result()
    assert cache.held_bytes <= 3_000
    assert np.array_equal(
        cache.read(VIEWED, DAYS).times, np.array([time for _, time in fresh(service, VIEWED)])
    )
