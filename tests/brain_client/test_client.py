import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
from brain.events.v1.events_pb2 import Event

from brain_client import Brain, Delivery
from tests.brain_client.memory_events import Running, Store, serve

QUICK = Delivery(linger_seconds=0.02, block_seconds=0.05, exit_seconds=5)


class Dropped:
    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def __call__(self, events: Sequence[Event], reason: str) -> None:
        self.reasons.setdefault(reason, []).extend(event.event for event in events)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        pause.wait(0.005)
    return condition()


def servicer_is_called(served: Running) -> Callable[[], bool]:
    return lambda: served.servicer.calls > 0


def client(served: Running, **kwargs: object) -> Brain:
    return Brain(served.address, "secret", **{"delivery": QUICK, **kwargs})  # type: ignore[arg-type]  # any of its keywords


def test_everything_tracked_is_stored_once_the_client_is_closed(served: Running, store: Store) -> None:
    with client(served) as brain:
        for number in range(2_500):
            brain.track("viewed", user_id=f"u-{number % 7}", session_id="s")
    assert len(store.events) == 2_500
    assert brain.statistics().accepted == brain.statistics().tracked == 2_500
    assert brain.statistics().buffered == 0


def test_events_travel_in_batches_with_the_token(served: Running, store: Store) -> None:
    with client(served, delivery=replace(QUICK, batch_events=100, linger_seconds=5)) as brain:
        for _ in range(1_000):
            brain.track("viewed", session_id="s")
        assert brain.flush(5)
    assert store.batch_sizes == [100] * 10
    assert store.tokens == {"Bearer secret"}


def test_a_batch_is_bounded_by_bytes_too(served: Running, store: Store) -> None:
    with client(served, delivery=replace(QUICK, batch_bytes=10_000, linger_seconds=5)) as brain:
        for _ in range(20):
            brain.track("viewed", session_id="s", page="p" * 1_900)
        assert brain.flush(5)
    assert max(store.batch_sizes) <= 5
    assert sum(store.batch_sizes) == 20


def test_a_lone_event_is_sent_without_a_flush(served: Running, store: Store) -> None:
    with client(served) as brain:
        brain.track("viewed", session_id="s")
        assert until(lambda: len(store.events) == 1)


def test_every_event_carries_its_own_id_and_the_time_of_the_call(served: Running, store: Store) -> None:
    before = datetime.now(UTC)
    with client(served) as brain:
        brain.track("viewed", session_id="s")
        brain.track("viewed", session_id="s")
    first, second = store.events.values()
    assert first.event_id != second.event_id
    assert before <= first.event_time.ToDatetime(UTC) <= datetime.now(UTC)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"])
def test_a_failure_that_may_pass_is_retried(served: Running, store: Store, code: str) -> None:
    served.servicer.failures = [(grpc.StatusCode[code], None)]
    with client(served) as brain:
        brain.track("viewed", session_id="s")
        assert brain.flush(5)
    assert brain.statistics().accepted == 1
    assert served.servicer.calls == 2


def test_a_retry_is_not_sent_before_the_server_advises(served: Running) -> None:
    served.servicer.failures = [(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.4)]
    with client(served) as brain:
        start = time.monotonic()
        brain.track("viewed", session_id="s")
        assert brain.flush(5)
        assert time.monotonic() - start >= 0.4


def test_a_lost_reply_stores_nothing_twice(served: Running, store: Store) -> None:
    served.servicer.lost_replies = 1
    with client(served) as brain:
        for _ in range(10):
            brain.track("viewed", session_id="s")
        assert brain.flush(5)
    assert len(store.events) == 10
    assert brain.statistics().duplicates == 10


def test_a_final_failure_drops_the_batch_with_its_reason(served: Running, store: Store) -> None:
    served.servicer.failures = [(grpc.StatusCode.PERMISSION_DENIED, None)]
    dropped = Dropped()
    with client(served, on_drop=dropped) as brain:
        brain.track("first", session_id="s")
        assert brain.flush(5)
        brain.track("second", session_id="s")
    assert dropped.reasons == {"PERMISSION_DENIED: asked to fail": ["first"]}
    assert (brain.statistics().dropped, brain.statistics().accepted) == (1, 1)


def test_rejected_events_are_reported_with_every_bad_field_and_the_rest_is_stored(
    served: Running, store: Store
) -> None:
    dropped = Dropped()
    with client(served, on_drop=dropped) as brain:
        for name in ("good", "bad-1", "good", "bad-2"):
            brain.track(name, session_id="s")
    assert dropped.reasons == {"rejected: event is bad; value is bad too": ["bad-1", "bad-2"]}
    assert (brain.statistics().rejected, len(store.events)) == (2, 2)


def test_a_restart_of_the_server_loses_and_doubles_nothing(store: Store) -> None:
    served = serve(store)
    with client(served) as brain:
        for round_number in range(3):
            served.servicer.gate.clear()
            for _ in range(500):
                brain.track("viewed", session_id=f"s-{round_number}")
            assert until(servicer_is_called(served))
            served.kill()
            served = serve(store, served.port)
        assert brain.flush(20)
        statistics = brain.statistics()
    served.kill()
    assert len(store.events) == statistics.accepted + statistics.duplicates == 1_500
    assert statistics.dropped == 0


def test_a_stalled_server_makes_track_wait_once_then_drop_at_once(served: Running, store: Store) -> None:
    served.servicer.gate.clear()
    dropped = Dropped()
    delivery = replace(QUICK, buffer_events=10, batch_events=5, block_seconds=0.1)
    with client(served, on_drop=dropped, delivery=delivery) as brain:
        start = time.monotonic()
        for _ in range(1_000):
            brain.track("viewed", session_id="s")
        elapsed = time.monotonic() - start
        served.servicer.gate.set()
    assert len(dropped.reasons["the buffer is full"]) == brain.statistics().dropped == 990
    assert 0.1 <= elapsed < 2
    assert len(store.events) == 10


def test_track_goes_on_without_loss_when_room_comes_within_the_wait(served: Running, store: Store) -> None:
    delivery = replace(QUICK, buffer_events=50, batch_events=10, block_seconds=5)
    with client(served, delivery=delivery) as brain:
        for _ in range(1_000):
            brain.track("viewed", session_id="s")
    assert len(store.events) == 1_000


def test_the_buffer_is_bounded_by_bytes(served: Running) -> None:
    served.servicer.gate.clear()
    delivery = replace(QUICK, buffer_bytes=20_000, batch_bytes=10_000, block_seconds=0)
    with client(served, delivery=delivery, on_drop=Dropped()) as brain:
        for _ in range(100):
            brain.track("viewed", session_id="s", page="p" * 1_900)
        assert brain.statistics().buffered <= 10
        served.servicer.gate.set()


def test_closing_with_the_server_away_takes_no_longer_than_asked_and_reports_the_loss(store: Store) -> None:
    served = serve(store)
    served.kill()
    dropped = Dropped()
    brain = client(served, on_drop=dropped, delivery=replace(QUICK, batch_events=10))
    for _ in range(25):
        brain.track("viewed", session_id="s")
    start = time.monotonic()
    brain.close(timeout=0.2)
    assert time.monotonic() - start < 2
    statistics = brain.statistics()
    assert statistics.dropped == sum(map(len, dropped.reasons.values())) == 25
    assert statistics.buffered == 0


def test_nothing_is_told_of_no_events(store: Store) -> None:
    served = serve(store)
    served.kill()
    told: list[int] = []
    brain = client(served, on_drop=lambda events, _: told.append(len(events)))
    brain.track("viewed", session_id="s")
    assert not brain.flush(0.1)  # by now the sender has taken it, and the buffer holds none
    brain.close(timeout=0.05)
    assert told == [1]


def test_what_is_tracked_after_closing_is_dropped_and_told(served: Running) -> None:
    dropped = Dropped()
    brain = client(served, on_drop=dropped)
    brain.close()
    brain.track("late", session_id="s")
    assert dropped.reasons == {"the client is closed": ["late"]}
    assert (brain.statistics().tracked, brain.statistics().dropped) == (1, 1)


def test_without_a_callback_losses_are_logged(served: Running, caplog: pytest.LogCaptureFixture) -> None:
    brain = client(served)
    brain.close()
    with caplog.at_level(logging.WARNING, "brain_client"):
        brain.track("late", session_id="s")
        brain.track("late", session_id="s")
    assert [record.getMessage() for record in caplog.records] == ["1 events dropped: the client is closed"]


def test_a_callback_that_raises_does_not_stop_the_sender(served: Running, store: Store) -> None:
    def raises(events: Sequence[Event], reason: str) -> None:
        raise RuntimeError(reason)

    with client(served, on_drop=raises) as brain:
        brain.track("bad", session_id="s")
        assert brain.flush(5)
        brain.track("good", session_id="s")
    assert len(store.events) == 1


def test_a_reply_without_sense_costs_its_batch_alone(
    served: Running, caplog: pytest.LogCaptureFixture
) -> None:
    served.servicer.mad_replies = 1
    dropped = Dropped()
    with client(served, on_drop=dropped) as brain:
        brain.track("first", session_id="s")
        assert brain.flush(5)
        brain.track("second", session_id="s")
    assert dropped.reasons == {"IndexError: list index out of range": ["first"]}
    statistics = brain.statistics()
    assert (statistics.tracked, statistics.accepted, statistics.dropped) == (2, 1, 1)
    assert "a batch failed in an unforeseen way" in caplog.text


def test_flush_says_no_while_the_server_holds_the_batch(served: Running) -> None:
    served.servicer.gate.clear()
    with client(served) as brain:
        brain.track("viewed", session_id="s")
        assert not brain.flush(0.05)
        served.servicer.gate.set()
        assert brain.flush(5)


def test_eight_threads_track_without_loss(served: Running, store: Store) -> None:
    def work(brain: Brain, name: int) -> None:
        for _ in range(500):
            brain.track("viewed", user_id=f"u-{name}", session_id="s")

    with client(served) as brain:
        threads = [threading.Thread(target=work, args=(brain, name)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(store.events) == brain.statistics().tracked == 4_000


@pytest.mark.parametrize(
    "wrong", [{"batch_events": 5_001}, {"buffer_events": 10}, {"batch_bytes": 4_000_000}]
)
def test_batches_the_server_or_the_buffer_cannot_hold_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be 1 to"):
        Delivery(**wrong)
