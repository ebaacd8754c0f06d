"""Quotas per token: a bucket that a minute fills, on the clock's word alone, and calls beyond it."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.events.ingest import admission
from shared.auth import Role, mint_token
from shared.clients import channel
from shared.quotas import Quotas
from tests.refusals import Refusal, attempt, refusal
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_events

QUOTA = 120
Connect = Callable[..., EventsServiceStub]


def test_a_minutes_quota_may_be_taken_at_once_and_comes_back_evenly() -> None:
    quotas = Quotas()
    assert quotas.take("ann", 60, 60, now=0.0) == 0
    assert quotas.take("ann", 60, 1, now=0.0) == 1.0
    assert quotas.take("ann", 60, 10, now=4.0) == 6.0
    assert quotas.take("ann", 60, 10, now=10.0) == 0
    assert quotas.take("ann", 60, 1, now=10.0) == 1.0


def test_waiting_as_long_as_advised_is_enough() -> None:
    chance = random.Random(3)
    quotas, now = Quotas(), 0.0
    for _ in range(500):
        per_minute, events = 97, chance.randint(1, 97)
        wait = quotas.take("ann", per_minute, events, now)
        if wait:
            assert quotas.take("ann", per_minute, events, now + wait + 1e-6) == 0
            now += wait + 1e-6
        now += chance.random()


def test_no_minute_lets_more_through_than_two_quotas() -> None:
    """A full bucket and what a minute adds to it; over a long time, the rate alone."""
    chance = random.Random(4)
    quotas, now, taken = Quotas(), 0.0, []
    while now < 600:
        events = chance.randint(1, 20)
        if quotas.take("ann", QUOTA, events, now) == 0:
            taken.append((now, events))
        now += chance.random() / 2
    for start, _ in taken:
        assert sum(events for when, events in taken if start <= when < start + 60) <= 2 * QUOTA
    assert 10 * QUOTA * 0.9 < sum(events for _, events in taken) <= 11 * QUOTA


def test_a_clock_that_goes_back_gives_nothing() -> None:
    quotas = Quotas()
    quotas.take("ann", 60, 60, now=100.0)
    assert quotas.take("ann", 60, 1, now=50.0) == 1.0
    assert quotas.take("ann", 60, 1, now=100.5) == 0.5


def test_senders_do_not_share_and_few_are_remembered() -> None:
    quotas = Quotas(maximum_senders=2)
    assert [quotas.take(name, 1, 1, now=0.0) for name in ("ann", "bob")] == [0, 0]
    assert quotas.take("ann", 1, 1, now=1.0) == 59.0
    quotas.take("cid", 1, 1, now=1.0)  # bob took nothing for the longest time, and is forgotten
    assert quotas.take("ann", 1, 1, now=1.0) == 59.0
    assert quotas.take("bob", 1, 1, now=1.0) == 0


@pytest.fixture
def connect(token_keys: tuple[bytes, bytes]) -> Iterator[Connect]:
    """Calls with a token of this subject and quota."""
    with ExitStack() as stack:

        def opened(service: Service, subject: str, per_minute: int | None) -> EventsServiceStub:
            token = mint_token(token_keys[0], subject, [Role.INGEST], None, 0, per_minute)
            address = f"127.0.0.1:{service.application.server.port}"
            return EventsServiceStub(stack.enter_context(channel(address, token)))

        yield opened


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of the quotas' clock, standing still until moved."""
    seconds = [1_000.0]
    monkeypatch.setattr(admission, "monotonic", lambda: seconds[0])
    return seconds


def send(stub: EventsServiceStub, first: int, number: int) -> pb.TrackEventsResponse:
    return stub.TrackEvents(pb.TrackEventsRequest(events=made_events(range(first, first + number))))


def exceeded(refused: Refusal | None) -> bool:
    return refused is not None and (refused.code, refused.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "QUOTA_EXCEEDED",
    )


def test_beyond_its_quota_a_token_is_told_when_to_come_back(
    service: Service, connect: Connect, now: list[float]
) -> None:
    stub = connect(service, "shop", QUOTA)
    assert send(stub, 0, 100).accepted == 100
    with pytest.raises(grpc.RpcError) as refused:
        send(stub, 100, 50)
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]  # it is a Call as well
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.ToTimedelta().total_seconds() == 15  # 30 are missing at 2 a second

    now[0] += 15
    assert send(stub, 100, 50).accepted == 50
    assert send(connect(service, "app", QUOTA), 0, 100).duplicates == 100


def test_every_call_that_takes_events_keeps_the_quota(
    service: Service, connect: Connect, now: list[float]
) -> None:
    stub = connect(service, "shop", 3)
    stream = (pb.TrackEventStreamRequest(events=made_events([number])) for number in (1, 2))
    assert [reply.accepted for reply in stub.TrackEventStream(stream)] == [1, 1]
    stub.TrackEvent(pb.TrackEventRequest(event=made_events([3])[0]))

    one = pb.TrackEventRequest(event=made_events([4])[0])
    again = pb.TrackEventStreamRequest(events=[one.event])
    assert exceeded(attempt(lambda: stub.TrackEvent(one)))
    assert exceeded(attempt(lambda: send(stub, 4, 1)))
    assert exceeded(attempt(lambda: list(stub.TrackEventStream(iter([again])))))


def test_a_batch_that_no_minute_could_take_is_refused_for_good(
    service: Service, connect: Connect, now: list[float]
) -> None:
    stub = connect(service, "shop", 10)
    refused = refusal(lambda: send(stub, 0, 11))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "smaller batches" in refused.fields["events"]
    assert send(stub, 0, 10).accepted == 10


def test_the_service_has_a_quota_for_tokens_that_say_none(
    start_service: Callable[..., Service], connect: Connect, now: list[float]
) -> None:
    service = start_service(events_per_minute=5)
    plain, generous = connect(service, "plain", None), connect(service, "generous", QUOTA)
    assert send(plain, 0, 5).accepted == 5
    assert exceeded(attempt(lambda: send(plain, 5, 1)))
    assert send(generous, 0, 50).accepted == 45


def test_without_a_quota_nothing_is_counted(service: Service, connect: Connect, now: list[float]) -> None:
    stub = connect(service, "plain", None)
    assert sum(send(stub, first, 2_000).accepted for first in (0, 2_000)) == 4_000
