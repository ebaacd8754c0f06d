"""flagd's evaluation service, asked with plain stubs."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import active_count
from typing import Any

import grpc
import pytest
from brain.experiments.v1 import experiments_pb2
from flagd.evaluation.v2 import evaluation_pb2 as pb
from flagd.evaluation.v2.evaluation_pb2_grpc import ServiceStub
from google.protobuf.struct_pb2 import Struct, Value
from pydantic import ValidationError

from services.experiments.config import ExperimentsSettings
from services.experiments.flags import streams
from shared.auth import Role, mint_token
from shared.clients import channel
from tests.refusals import refusal
from tests.services.experiments.asking import (
    assign,
    attributes,
    complete,
    create,
    definition,
    pause,
    person,
    results,
    start,
)
from tests.services.experiments.conftest import Service


def address(service: Service) -> str:
    return f"127.0.0.1:{service.application.flags.port}"


@pytest.fixture
def flags(service: Service) -> Iterator[ServiceStub]:
    with channel(address(service), None) as calls:
        yield ServiceStub(calls)


def context(name: str, **more: str | float | bool) -> Struct:
    return attributes(targetingKey=name, **more)


def experiment(service: Service, key: str, *values: Value) -> None:
    variants = [
        experiments_pb2.Variant(name=name, value=value, allocation_percent=50)
        for name, value in zip("ab", values, strict=True)
    ]
    what = experiments_pb2.ExperimentDefinition(name=key, variants=variants, metrics=definition().metrics)
    create(service, key, what)
    start(service, key)


def ask(flags: ServiceStub, key: str, name: str) -> pb.ResolveStringResponse:
    return flags.ResolveString(pb.ResolveStringRequest(flag_key=key, context=context(name)))


def test_flags_are_the_assignments(service: Service, flags: ServiceStub) -> None:
    create(service)
    start(service)
    for number in range(50):
        name = f"u-{number}"
        found = ask(flags, "colour", name)
        kept = assign(service, name)
        assert (found.value, found.variant, found.reason) == (kept.variant, kept.variant, "SPLIT")
    assert results(service).participants == 50


def test_every_kind_of_value_is_resolved_by_its_call(service: Service, flags: ServiceStub) -> None:
    one, two = Value(), Value()
    one.struct_value.update({"depth": 1})
    two.struct_value.update({"depth": 1})
    experiment(service, "object", one, two)
    experiment(service, "boolean", Value(bool_value=True), Value(bool_value=True))
    experiment(service, "float", Value(number_value=2.5), Value(number_value=2.5))
    experiment(service, "int", Value(number_value=3), Value(number_value=3))
    experiment(service, "string", Value(string_value="x"), Value(string_value="x"))
    who = context("ann")
    calls: dict[str, Callable[[str], object]] = {
        "object": lambda key: dict(
            flags.ResolveObject(pb.ResolveObjectRequest(flag_key=key, context=who)).value
        ),
        "boolean": lambda key: (
            flags.ResolveBoolean(pb.ResolveBooleanRequest(flag_key=key, context=who)).value
        ),
        "float": lambda key: flags.ResolveFloat(pb.ResolveFloatRequest(flag_key=key, context=who)).value,
        "int": lambda key: flags.ResolveInt(pb.ResolveIntRequest(flag_key=key, context=who)).value,
        "string": lambda key: flags.ResolveString(pb.ResolveStringRequest(flag_key=key, context=who)).value,
    }
    expected = {"object": {"depth": 1}, "boolean": True, "float": 2.5, "int": 3, "string": "x"}
    assert {key: call(key) for key, call in calls.items()} == expected
    for call, resolve in calls.items():
        for key in expected.keys() - {call, "int"}:
            refused = refusal(partial(resolve, key))
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT, (call, key)
    everything = flags.ResolveAll(pb.ResolveAllRequest(context=who)).flags
    assert everything["object"].object_value == one.struct_value
    assert (everything["boolean"].bool_value, everything["float"].double_value) == (True, 2.5)
    assert (everything["int"].double_value, everything["string"].string_value) == (3, "x")


def test_without_a_variant_the_default_of_the_caller_holds(service: Service, flags: ServiceStub) -> None:
    def outcome(name: str = "ann") -> tuple[str, bool, bool]:
        found = ask(flags, "colour", name)
        return found.reason, found.HasField("variant"), found.HasField("value")

    create(service, what=definition(coverage_percent=0))
    assert outcome() == ("DISABLED", False, False)
    start(service)
    assert outcome() == ("DEFAULT", False, False)
    assert outcome("") == ("DEFAULT", False, False)
    pause(service)
    assert outcome() == ("DISABLED", False, False)
    start(service)
    complete(service)
    assert outcome() == ("DISABLED", False, False)
    assert not flags.ResolveAll(pb.ResolveAllRequest(context=context("ann"))).flags


def test_a_winner_is_for_everybody(service: Service, flags: ServiceStub) -> None:
    create(service)
    start(service)
    request = experiments_pb2.DeclareWinnerRequest(
        decision_id="d", experiment_key="colour", variant="b", override_reason="gut"
    )
    service.experiments.DeclareWinner(request)
    for name in ("ann", "bob", ""):
        found = ask(flags, "colour", name)
        assert (found.value, found.reason) == ("b", "STATIC")


def test_an_override_is_told_as_such(service: Service, flags: ServiceStub) -> None:
    create(service)
    start(service)
    request = experiments_pb2.SetOverrideRequest(experiment_key="colour", person=person("ann"), variant="b")
    service.experiments.SetOverride(request)
    found = ask(flags, "colour", "ann")
    assert (found.value, found.reason) == ("b", "TARGETING_MATCH")


def test_unknown_flags_and_bad_contexts_are_refused(service: Service, flags: ServiceStub) -> None:
    assert refusal(lambda: ask(flags, "nothing", "ann")).code is grpc.StatusCode.NOT_FOUND
    create(service)
    start(service)
    assert refusal(lambda: ask(flags, "colour", "x" * 201)).code is grpc.StatusCode.INVALID_ARGUMENT
    bad = pb.ResolveStringRequest(flag_key="colour")
    bad.context.fields["x"].number_value = float("nan")
    assert refusal(lambda: flags.ResolveString(bad)).code is grpc.StatusCode.INVALID_ARGUMENT


def next_event(stream: Iterator[pb.EventStreamResponse]) -> pb.EventStreamResponse:
    """The next event that is no keep-alive."""
    return next(event for event in stream if event.type != "keep_alive")


def test_streams_tell_every_change(service: Service, flags: ServiceStub) -> None:
    stream = flags.EventStream(pb.EventStreamRequest(), timeout=30)
    assert next(stream).type == "provider_ready"
    for step in (create, start, pause, start, complete):
        step(service)
        event = next_event(stream)
        assert event.type == "configuration_change"
        assert event.data == attributes(flags={"colour": {}})
    stream.cancel()


def test_streams_are_kept_alive(
    start_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = streams.EventStreams.__init__
    monkeypatch.setattr(streams.EventStreams, "__init__", lambda self, found: original(self, found, 0.1))
    with channel(address(start_service()), None) as calls:
        stream = ServiceStub(calls).EventStream(pb.EventStreamRequest(), timeout=30)
        assert [next(stream).type for _ in range(3)] == ["provider_ready", "keep_alive", "keep_alive"]
        stream.cancel()


def test_many_idle_streams_leave_room_for_calls(service: Service, flags: ServiceStub) -> None:
    create(service)
    start(service)
    opened = [flags.EventStream(pb.EventStreamRequest(), timeout=60) for _ in range(200)]
    assert {next(stream).type for stream in opened} == {"provider_ready"}
    threads = active_count()
    assert ask(flags, "colour", "ann").HasField("variant")
    pause(service)
    assert {next_event(stream).type for stream in opened} == {"configuration_change"}
    # A thread each would be 200 more; the senders are eight.
    assert active_count() <= threads + 20
    for stream in opened:
        stream.cancel()


def test_tokens_are_asked_where_the_setting_says_so(
    start_service: Callable[..., Service], token_keys: tuple[bytes, bytes]
) -> None:
    service = start_service(flagd_auth="token")
    create(service)
    start(service)
    with channel(address(service), None) as calls:
        refused = refusal(lambda: ask(ServiceStub(calls), "colour", "ann"))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    with channel(address(service), mint_token(token_keys[0], "app", [Role.INGEST], None, 0)) as calls:
        assert ask(ServiceStub(calls), "colour", "ann").HasField("variant")


def test_only_flags_are_open(service: Service) -> None:
    with channel(address(service), None) as calls:
        unknown: Any = calls.unary_unary("/brain.experiments.v1.ExperimentsService/ListExperiments")
        assert refusal(lambda: unknown(b"")).code is grpc.StatusCode.UNIMPLEMENTED


def test_flags_are_open_to_this_machine_alone() -> None:
    with pytest.raises(ValidationError, match="loopback"):
        ExperimentsSettings.model_validate(
            {"flagd_address": "0.0.0.0:8013", "database_url": "postgresql://h/d", "auth": "off",
             "encryption_keys": "1:" + "A" * 43 + "=", "blind_index_key": "A" * 43 + "="}
        )  # fmt: skip


def test_an_empty_object_is_a_value(service: Service, flags: ServiceStub) -> None:
    empty, full = Value(), Value()
    empty.struct_value.SetInParent()
    full.struct_value.update({"x": 1})
    experiment(service, "layout", empty, full)
    names = (f"u-{number}" for number in range(50))
    name = next(each for each in names if assign(service, each, "layout").variant == "a")
    answer = flags.ResolveAll(pb.ResolveAllRequest(context=context(name))).flags["layout"]
    assert (answer.variant, answer.WhichOneof("value")) == ("a", "object_value")
