"""One request from the gateway through two services, as a collector and the logs tell it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.auth import Role
from shared.clients import async_channel
from shared.spans import Tracer
from shared.tracing import current_span
from tests.clock import Clock
from tests.collector import Collector, Told, collecting
from tests.gateway.conftest import Gateway, LoopThread, gateway_before
from tests.services.events.conftest import running as running_events
from tests.services.funnels.conftest import running as running_funnels

FUNNELS = "/api/analytics/funnels"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # W3C Trace Context, section 3.2
ASKED = "brain.funnels.v1.FunnelsService/GetFunnelResults"
SCAN = "brain.events.v1.EventsService/ScanEvents"


@dataclass(frozen=True)
class Suite:
    """A gateway before funnels and events, each traced; `stop` ends all three."""

    gateway: Gateway
    collector: Collector
    stop: Callable[[], None]


@pytest.fixture
def suite(
    loop_thread: LoopThread,
    events_database: str,
    funnels_database: str,
    token_keys: tuple[bytes, bytes],
    tokens: dict[Role, str],
    public_key_file: Path,
) -> Iterator[Suite]:
    with collecting() as collector, ExitStack() as stack:
        traced = {"traces_address": collector.address}
        now = Clock(int(datetime.now(UTC).timestamp() * 1e6))
        events = stack.enter_context(
            running_events(events_database, now, token_keys[0], public_key_file, **traced)
        )
        funnels = stack.enter_context(
            running_funnels(funnels_database, events, token_keys, public_key_file.parent, clock=now, **traced)
        )
        traced["funnels_address"] = f"127.0.0.1:{funnels.application.server.port}"
        gateway = stack.enter_context(gateway_before(loop_thread, events, tokens, public_key_file, **traced))
        yield Suite(gateway, collector, stack.close)


def filled(client: httpx.Client) -> None:
    """A funnel, and somebody who went through it."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    for minute, letter in enumerate("AB"):
        event = {
            "event": letter,
            "userId": "secret-ann",
            "sessionId": "s",
            "eventId": letter,
            "eventTime": (begin + timedelta(minutes=minute)).isoformat(),
        }
        assert client.post("/api/analytics/events", json=event).status_code == 200
    made = {"funnelId": "checkout", "name": "Checkout", "steps": [{"event": letter} for letter in "AB"]}
    assert client.post(FUNNELS, params={"action": "create"}, json=made).status_code == 200


def ask(client: httpx.Client, **headers: str) -> None:
    answer = client.get(FUNNELS, params={"action": "results", "funnelId": "checkout"}, headers=headers)
    assert [step["users"] for step in answer.json()["results"]["steps"]] == [1, 1]


def test_one_request_is_one_trace_across_services(suite: Suite) -> None:
    with suite.gateway.client() as client:
        filled(client)
        ask(client, traceparent=f"00-{TRACE}-{SPAN}-01", **{"x-request-id": "r-7"})
    suite.stop()
    spans = {each.span_id: each for each in suite.collector.spans if each.trace_id == TRACE}
    [root] = [each for each in spans.values() if each.parent_id == SPAN]
    assert (root.service, root.kind, root.name) == ("gateway", "SERVER", f"GET {FUNNELS}")
    assert root.attributes == {
        "http.request.method": "GET",
        "http.route": FUNNELS,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "request_id": "r-7",
    }

    def chain(span: Told) -> list[tuple[str, str]]:
        above = chain(spans[span.parent_id]) if span.parent_id in spans else []
        return [*above, (span.service, span.kind)]

    [events_call] = [each for each in spans.values() if (each.name, each.kind) == (SCAN, "SERVER")]
    assert chain(events_call) == [
        ("gateway", "SERVER"),
        ("gateway", "CLIENT"),
        ("funnels", "SERVER"),
        ("funnels", "CLIENT"),
        ("events", "SERVER"),
    ]
    assert all(chain(each)[0] == ("gateway", "SERVER") for each in spans.values()), "one tree"
    served = [each for each in spans.values() if each.kind == "SERVER"]
    assert {each.attributes["request_id"] for each in served} == {"r-7"}
    assert ASKED in {each.name for each in served}
    sent = b"".join(suite.collector.requests)
    for secret in (b"secret-ann", b"checkout", b"action", b"Bearer", b"the-admin"):
        assert secret not in sent


def test_every_line_of_a_request_has_its_id_and_trace(suite: Suite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with suite.gateway.client() as client:
        filled(client)
        ask(client, traceparent=f"00-{TRACE}-{SPAN}-01", **{"x-request-id": "r-8"})
    suite.stop()
    lines = [vars(each) for each in caplog.records if vars(each).get("request_id") == "r-8"]
    calls = [line for line in lines if line["name"] == "shared.calls"]
    assert {f"/{SCAN}", f"/{ASKED}"} <= {line["method"] for line in calls}
    assert {line["trace_id"] for line in calls} == {TRACE}
    assert [line["route"] for line in lines if line["name"] == "gateway.requests"] == [FUNNELS]


def test_what_fails_at_the_gateway_is_an_error_and_what_is_refused_is_not(suite: Suite) -> None:
    predictions = "/api/analytics/predictions"
    with suite.gateway.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/nothing/secret-ann").status_code == 404
        assert client.get(FUNNELS, params={"action": "results", "funnelId": "none"}).status_code == 404
        assert client.get(predictions, params={"action": "list"}).status_code == 501, "not connected"
    suite.stop()
    told = {
        each.name: (*map(each.attributes.get, ("http.route", "http.response.status_code")), each.failed)
        for each in suite.collector.spans
        if (each.service, each.kind) == ("gateway", "SERVER")
    }
    assert told == {
        "GET": (None, 404, False),
        f"GET {FUNNELS}": (FUNNELS, 404, False),
        f"GET {predictions}": (predictions, 501, True),
    }
    [asked] = [each for each in suite.collector.spans if each.kind == "CLIENT"]
    assert (asked.name, asked.failed) == (ASKED, True)
    assert asked.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_call_that_is_given_up_ends_its_span(loop_thread: LoopThread) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = Tracer(provider.get_tracer("test"), provider.shutdown)

    async def give_up() -> None:
        connected = asyncio.Event()

        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            await reader.read(-1)
            writer.close()

        silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
        address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        current_span.set(tracer.of_request("GET", "http", ()))
        async with async_channel(address, interceptors=[tracer.of_async_calls(address)]) as calls:
            asking = asyncio.ensure_future(ask_for_ever(calls))
            await connected.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        silent.close()

    async def ask_for_ever(calls: grpc.aio.Channel) -> None:
        call: Any = calls.unary_unary("/brain.Some/Call")
        await call(b"")

    loop_thread.run(give_up())
    [span] = kept.get_finished_spans()
    assert span.name == "brain.Some/Call"
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.CANCELLED.value[0]
