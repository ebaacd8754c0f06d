"""Several servers behind one address: calls go to each, and a restart of either costs none."""

import threading
from pathlib import Path

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse

from shared import clients
from shared.attempts import is_retry
from shared.auth import Role
from shared.errors import ResourceExhausted, Unavailable
from tests.refusals import Refusal, refusal
from tests.shared.certificates import Authority
from tests.shared.conftest import Served, Start
from tests.shared.sample_service import Sample, SampleStub, eventually

ONE = TrackEventsRequest(events=[Event()])


def answered(served: Served) -> float:
    return served.counted("grpc_server_handled_total", grpc_method="Ask", grpc_type="unary", grpc_code="OK")


def test_calls_go_to_every_address_in_turn(start: Start) -> None:
    replicas = [start(), start()]
    token = replicas[0].token(Role.ANALYST)
    with clients.channel(",".join(each.address for each in replicas), token) as channel:
        stub = SampleStub(channel)

        def both_answered() -> bool:
            stub.ask(ONE)
            return all(answered(each) for each in replicas)

        assert eventually(both_answered)  # connections may come up one after the other
        before = [answered(each) for each in replicas]
        for _ in range(40):
            stub.ask(ONE)
        assert [answered(each) - had for each, had in zip(replicas, before, strict=True)] == [20, 20]


def test_a_rolling_restart_under_load_costs_no_call(start: Start) -> None:
    replicas = [start(), start()]
    token = replicas[0].token(Role.ANALYST)
    address = ",".join(each.address for each in replicas)
    stopping = threading.Event()
    failed: list[grpc.RpcError] = []
    asked = [0] * 4

    def ask(number: int) -> None:
        with clients.channel(address, token) as channel:
            stub = SampleStub(channel)
            while not stopping.is_set():
                try:
                    stub.ask(ONE)
                except grpc.RpcError as error:
                    failed.append(error)
                asked[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        goal = sum(asked) + 200
        assert eventually(lambda goal=goal: sum(asked) > goal)  # type: ignore[misc]  # bound as it is now
        stopped = replicas[turn % 2]
        stopped.running.stop()
        replicas[turn % 2] = start(address=stopped.address)
    stopping.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_certificate_for_the_first_address_is_enough(start: Start, tmp_path: Path) -> None:
    authority = Authority()
    for name, pem in zip(("cert", "key"), authority.issue("127.0.0.1"), strict=True):
        (tmp_path / name).write_bytes(pem)
    served = start(tls_certificate_file=tmp_path / "cert", tls_key_file=tmp_path / "key")
    with clients.channel(
        f"{served.address},127.0.0.1:1", served.token(Role.ANALYST), tls=clients.Tls(authority.pem)
    ) as channel:
        SampleStub(channel).ask(ONE)


@pytest.mark.parametrize(
    "address", ["localhost:1,localhost:2", "127.0.0.1:1,[::1]:1", "127.0.0.1:1,", ",", "[::1]:1,x"]
)
def test_lists_that_grpc_would_not_understand_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="all of IPv4 or all of IPv6"):
        clients.channel(address, None)


def test_what_its_caller_cancels_is_not_sent_again(start: Start) -> None:
    arrived = threading.Semaphore(0)

    def ask(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        ended = threading.Event()
        context.add_callback(ended.set)
        arrived.release()
        ended.wait(5)
        return TrackEventsResponse()

    served = start(Sample(ask=ask))
    call = served.stub().ask.future(ONE)
    assert arrived.acquire(timeout=5)
    call.cancel()
    assert call.cancelled()
    assert not arrived.acquire(timeout=1), "longer than the first pause between attempts"


def test_a_server_knows_that_a_call_was_tried_before(start: Start) -> None:
    seen: list[bool] = []

    def ask(_request: object, context: grpc.ServicerContext) -> TrackEventsResponse:
        seen.append(is_retry(context))
        if not seen[-1]:
            raise Unavailable("the answer was lost", "LOST")
        return TrackEventsResponse()

    start(Sample(ask=ask)).stub().ask(ONE)
    assert seen == [False, True]


def test_a_service_that_stops_makes_its_caller_unavailable(start: Start) -> None:
    inner = start(
        Sample(ask=lambda _request, context: context.cancel()), auth="off", token_public_key_file=None
    )
    with grpc.insecure_channel(inner.address, (("grpc.enable_retries", 0),)) as once:
        upstream = SampleStub(once)
        outer = start(
            Sample(ask=lambda request, _context: upstream.ask(request)),
            auth="off",
            token_public_key_file=None,
        )
        with grpc.insecure_channel(outer.address, (("grpc.enable_retries", 0),)) as asking:
            with pytest.raises(grpc.RpcError) as caught:
                upstream.ask(ONE)
            assert caught.value.code() is grpc.StatusCode.CANCELLED
            with pytest.raises(grpc.RpcError) as caught:
                SampleStub(asking).ask(ONE)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "a service this one needs is away"


def test_a_service_that_takes_no_more_is_no_fault_of_who_needs_it(start: Start) -> None:
    def take(_request: object, _context: object) -> TrackEventsResponse:
        raise ResourceExhausted("8 streams are open, which is the limit", "TOO_MANY_STREAMS")

    refused = refused_beside(start, Sample(ask=take), largest_answer_bytes=1_000)
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "UPSTREAM_BUSY")


def test_an_answer_too_large_is_a_fault_of_who_asked(start: Start) -> None:
    answering = Sample(ask=lambda _request, _context: TrackEventsResponse(accepted=1, duplicates=1))
    refused = refused_beside(start, answering, largest_answer_bytes=1)
    assert (refused.code, refused.message) == (grpc.StatusCode.INTERNAL, "internal error")


def refused_beside(start: Start, sample: Sample, largest_answer_bytes: int) -> Refusal:
    """What a service answers that asks another one, and takes no larger answers."""
    inner = start(sample, auth="off", token_public_key_file=None)
    options = (("grpc.max_receive_message_length", largest_answer_bytes),)
    with grpc.insecure_channel(inner.address, options) as asked:
        upstream = SampleStub(asked)
        outer = start(
            Sample(ask=lambda request, _context: upstream.ask(request)),
            auth="off",
            token_public_key_file=None,
        )
        with grpc.insecure_channel(outer.address) as asking:
            return refusal(lambda: SampleStub(asking).ask(ONE))
