"""The queue in front of the writers, with a store that waits until the test lets it go on."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np
import pytest

from services.events.ingest.batch import Batch
from services.events.ingest.group_commit import GROUP_EVENTS, GroupCommit
from services.events.ingest.writer import Outcome
from shared.errors import ResourceExhausted, Unavailable

SECONDS = 20


class Store:
    """Writes nothing: keeps the sizes of the batches of each group, and fails where one is of 13 events."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def write(self, batches: list[Batch]) -> list[Outcome | Exception]:
        self.groups.append([len(batch) for batch in batches])
        self.entered.release()
        assert self.open.wait(SECONDS)
        if any(len(batch) == 13 for batch in batches):
            raise ConnectionError("gone")
        return [
            LookupError("this one alone") if len(batch) == 17 else Outcome(np.ones(len(batch), bool))
            for batch in batches
        ]


def batch(events: int) -> Batch:
    return Batch(times=[0] * events)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.open.set()


@pytest.fixture
def queue(store: Store) -> Iterator[GroupCommit]:
    queue = GroupCommit(store.write, writers=1, queue_events=100)
    yield queue
    store.open.set()
    queue.close()


def occupy(queue: GroupCommit, store: Store) -> None:
    """Lets the writer take a batch and wait with it."""
    queue.submit(batch(1))
    assert store.entered.acquire(timeout=SECONDS)


def test_a_lone_batch_is_taken_at_once(queue: GroupCommit, store: Store) -> None:
    store.open.set()
    assert queue.submit(batch(3)).result(SECONDS).accepted == 3
    assert store.groups == [[3]]


def test_callers_that_wait_share_one_commit_and_hear_of_their_own_events(
    queue: GroupCommit, store: Store
) -> None:
    occupy(queue, store)
    with ThreadPoolExecutor(8) as callers:
        futures = dict(
            zip(range(1, 13), callers.map(lambda size: queue.submit(batch(size)), range(1, 13)), strict=True)
        )
    assert queue.queued_events() == sum(range(1, 13))
    store.open.set()
    for size, future in futures.items():
        assert future.result(SECONDS).accepted == size
    assert store.groups[0] == [1]
    assert sorted(store.groups[1]) == list(range(1, 13))
    assert queue.queued_events() == 0


def test_nobody_hears_before_the_commit(queue: GroupCommit, store: Store) -> None:
    occupy(queue, store)
    waiting = queue.submit(batch(1))
    with pytest.raises(FutureTimeoutError):
        waiting.result(0.05)
    store.open.set()
    assert waiting.result(SECONDS).accepted == 1


def test_a_group_is_bounded_and_keeps_the_order(store: Store) -> None:
    queue = GroupCommit(store.write, writers=1, queue_events=50_000)
    occupy(queue, store)
    sizes = [GROUP_EVENTS - 1, 1, 1, GROUP_EVENTS, GROUP_EVENTS + 5, 2, GROUP_EVENTS - 2, 1]
    for size in sizes:
        queue.submit(batch(size))
    store.open.set()
    queue.close()
    assert store.groups[1:] == [
        [GROUP_EVENTS - 1, 1],
        [1],
        [GROUP_EVENTS],
        [GROUP_EVENTS + 5],  # larger than a group: alone
        [2, GROUP_EVENTS - 2],
        [1],
    ]


def test_a_full_queue_refuses_and_says_when_to_come_back(queue: GroupCommit, store: Store) -> None:
    occupy(queue, store)
    queue.submit(batch(60))
    queue.submit(batch(40))  # 100 fit exactly
    with pytest.raises(ResourceExhausted) as refused:
        queue.submit(batch(1))
    assert (refused.value.reason, refused.value.retry_seconds) == ("INGEST_OVERLOADED", 1)
    store.open.set()
    assert store.entered.acquire(timeout=SECONDS)
    assert queue.submit(batch(1)).result(SECONDS).accepted == 1


def test_a_batch_larger_than_the_queue_is_taken_when_nothing_waits(queue: GroupCommit, store: Store) -> None:
    occupy(queue, store)
    large = queue.submit(batch(5_000))
    with pytest.raises(ResourceExhausted):
        queue.submit(batch(1))
    store.open.set()
    assert large.result(SECONDS).accepted == 5_000


def test_a_failed_group_fails_for_all_its_callers_and_no_others(queue: GroupCommit, store: Store) -> None:
    before = queue.submit(batch(1))
    assert store.entered.acquire(timeout=SECONDS)
    together = [queue.submit(batch(size)) for size in (2, 13, 3)]
    store.open.set()
    assert before.result(SECONDS).accepted == 1
    for future in together:
        assert isinstance(future.exception(SECONDS), ConnectionError)
    assert queue.submit(batch(4)).result(SECONDS).accepted == 4
    assert store.groups == [[1], [2, 13, 3], [4]]


def test_an_exception_for_one_batch_reaches_its_caller_alone(queue: GroupCommit, store: Store) -> None:
    occupy(queue, store)
    good, bad, other = (queue.submit(batch(size)) for size in (2, 17, 3))
    store.open.set()
    assert isinstance(bad.exception(SECONDS), LookupError)
    assert (good.result(SECONDS).accepted, other.result(SECONDS).accepted) == (2, 3)


def test_closing_writes_what_is_queued_and_refuses_more(queue: GroupCommit, store: Store) -> None:
    occupy(queue, store)
    futures = [queue.submit(batch(size)) for size in (2, 13, 3)]
    with ThreadPoolExecutor(1) as stopping:
        closed = stopping.submit(queue.close)
        with pytest.raises(FutureTimeoutError):
            closed.result(0.05)
        with pytest.raises(Unavailable) as refused:
            queue.submit(batch(1))
        store.open.set()
        closed.result(SECONDS)
    assert refused.value.reason == "STOPPING"
    assert all(future.done() for future in futures)
    assert store.groups == [[1], [2, 13, 3]]
    assert not any(thread.is_alive() for thread in queue._threads)  # noqa: SLF001 - it has no others


def test_several_writers_write_at_the_same_time(store: Store) -> None:
    queue = GroupCommit(store.write, writers=3, queue_events=100)
    futures = []
    for size in (1, 2, 3):
        futures.append(queue.submit(batch(size)))
        assert store.entered.acquire(timeout=SECONDS)  # while those before are still at it
    store.open.set()
    queue.close()
    assert [future.result(SECONDS).accepted for future in futures] == [1, 2, 3]
