"""The real OpenFeature SDK with the real flagd provider against the running service."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.services.experiments.asking import assign, create, definition, pause, start
from tests.services.experiments.conftest import Service
from tests.shared.sample_service import eventually

CLIENT = Path(__file__).with_name("openfeature_client.py")


@dataclass(frozen=True)
class Application:
    """A process that asks for flags."""

    process: "subprocess.Popen[str]"

    def ask(self, kind: str, key: str = "", default: object = None, name: str = "ann", **more: object) -> Any:  # noqa: ANN401 - JSON
        assert self.process.stdin
        self.process.stdin.write(json.dumps([kind, key, default, name, more]) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:  # noqa: ANN401 - JSON
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the client has ended"
        return json.loads(line)


@pytest.fixture
def application(service: Service) -> Iterator[Application]:
    command = [sys.executable, str(CLIENT), str(service.application.flags.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        started = Application(process)
        assert started.answer() == "ready"
        yield started
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 0


def experiment(service: Service, key: str, first: object, second: object) -> None:
    values = [Value(), Value()]
    for message, value in zip(values, (first, second), strict=True):
        if isinstance(value, dict):
            message.struct_value.update(value)
        elif isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, str):
            message.string_value = value
        else:
            message.number_value = value  # type: ignore[assignment]
    variants = [
        pb.Variant(name=name, value=value, allocation_percent=50)
        for name, value in zip("ab", values, strict=True)
    ]
    create(service, key, pb.ExperimentDefinition(name=key, variants=variants, metrics=definition().metrics))
    start(service, key)


def test_an_application_gets_what_is_stored(service: Service, application: Application) -> None:
    experiment(service, "text", "red", "blue")
    experiment(service, "flag", first=True, second=False)
    experiment(service, "size", 10, 20)
    experiment(service, "rate", 0.5, 1.5)
    experiment(service, "config", {"depth": 1}, {"depth": 2})
    asked: dict[str, tuple[str, dict[str, object], object]] = {
        "string": ("text", {"a": "red", "b": "blue"}, "none"),
        "boolean": ("flag", {"a": True, "b": False}, False),
        "integer": ("size", {"a": 10, "b": 20}, 0),
        "float": ("rate", {"a": 0.5, "b": 1.5}, 0.0),
        "object": ("config", {"a": {"depth": 1}, "b": {"depth": 2}}, {}),
    }
    for kind, (key, values, default) in asked.items():
        for name in ("ann", "bob", "cat", "Zoë"):
            found = application.ask(kind, key, default, name)
            variant = assign(service, name, key).variant
            assert (found["variant"], found["reason"]) == (variant, "SPLIT")
            assert found["value"] == values[variant]
            # Not from a cache that is the same for all users.
            assert application.ask(kind, key, default, name)["reason"] == "SPLIT"


def test_an_application_splits_its_users_as_stored(service: Service, application: Application) -> None:
    create(service)
    start(service)
    found = {
        name: application.ask("string", "colour", "none", name)["value"]
        for name in (f"user-{number}" for number in range(400))
    }
    assert {name: assign(service, name).variant for name in found} == found
    assert 150 < list(found.values()).count("a") < 250


def test_an_application_gets_its_default_with_the_reason(service: Service, application: Application) -> None:
    def outcome(kind: str, key: str, default: object) -> tuple[object, str, str | None]:
        found = application.ask(kind, key, default)
        return found["value"], found["reason"], found["error_code"]

    create(service)
    assert outcome("string", "unknown", "none") == ("none", "ERROR", "FLAG_NOT_FOUND")
    assert outcome("string", "colour", "none") == ("none", "DISABLED", None)
    start(service)
    assert outcome("boolean", "colour", True) == (True, "ERROR", "TYPE_MISMATCH")
    pause(service)
    assert outcome("string", "colour", "none") == ("none", "DISABLED", None)
    create(service, "nobody", definition(coverage_percent=0))
    start(service, "nobody")
    assert outcome("string", "nobody", "none") == ("none", "DEFAULT", None)


def test_an_application_is_told_of_changes(service: Service, application: Application) -> None:
    create(service)
    start(service)
    assert eventually(lambda: "colour" in application.ask("changed"))
