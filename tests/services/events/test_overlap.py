"""Turns of writers: those that share an event go one after the other, all others at once."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event
from uuid import UUID, uuid4

import pytest

from services.events.ingest.overlap import Overlap

PATIENCE_SECONDS = 10
A, B, C = (uuid4().bytes for _ in range(3))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Writer:
    """A writer that holds its turn until told to let go."""

    def __init__(self, overlap: Overlap, threads: ThreadPoolExecutor, *ids: bytes) -> None:
        self.has_turn = Event()
        self._may_go = Event()
        self._done: Future[None] = threads.submit(self._write, overlap, b"".join(ids))

    def _write(self, overlap: Overlap, ids: bytes) -> None:
        with overlap.turn(ids):
            self.has_turn.set()
            assert self._may_go.wait(PATIENCE_SECONDS)

    def finish(self) -> None:
        self._may_go.set()
        self._done.result(PATIENCE_SECONDS)


def test_writers_without_a_common_event_hold_their_turns_together(threads: ThreadPoolExecutor) -> None:
    overlap, together = Overlap(), Barrier(2)

    def write(event_id: bytes) -> None:
        with overlap.turn(event_id):
            together.wait(PATIENCE_SECONDS)  # breaks unless both are here

    for done in [threads.submit(write, A), threads.submit(write, B)]:
        done.result(PATIENCE_SECONDS)


def test_a_writer_waits_for_the_one_before_it_with_the_same_event(threads: ThreadPoolExecutor) -> None:
    overlap = Overlap()
    first = Writer(overlap, threads, A, B)
    assert first.has_turn.wait(PATIENCE_SECONDS)
    second = Writer(overlap, threads, B, C)
    other = Writer(overlap, threads, uuid4().bytes)
    assert other.has_turn.wait(PATIENCE_SECONDS)
    assert not second.has_turn.is_set()
    first.finish()
    assert second.has_turn.wait(PATIENCE_SECONDS)
    second.finish()
    other.finish()


def test_a_turn_that_fails_is_over(threads: ThreadPoolExecutor) -> None:
    overlap = Overlap()
    with pytest.raises(ZeroDivisionError), overlap.turn(A):
        raise ZeroDivisionError
    after = Writer(overlap, threads, A)
    assert after.has_turn.wait(PATIENCE_SECONDS)
    after.finish()


def test_ids_that_end_alike_cost_only_waiting(threads: ThreadPoolExecutor) -> None:
    overlap = Overlap()
    first = Writer(overlap, threads, UUID(int=1 << 64 | 7).bytes)
    assert first.has_turn.wait(PATIENCE_SECONDS)
    second = Writer(overlap, threads, UUID(int=2 << 64 | 7).bytes)
    assert not second.has_turn.wait(0)
    first.finish()
    assert second.has_turn.wait(PATIENCE_SECONDS)
    second.finish()
