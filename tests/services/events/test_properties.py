"""Properties: which JSON is stored, and why the rest is not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from brain.events.v1.events_pb2 import Event
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from services.events.ingest.properties import properties_text

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(characters, max_size=10) | st.sampled_from(["\\u0000", "\\\\u0000", '"', "[{" * 40, "\\"])
scalars = st.none() | st.booleans() | texts | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9)
objects = st.dictionaries(
    texts,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_size=4,
)


def of_text(text: str) -> tuple[bytes, list[tuple[str, str]]]:
    violations: list[tuple[str, str]] = []
    return properties_text(Event(properties_json=text), violations), violations


def of_struct(struct: Struct) -> tuple[bytes, list[tuple[str, str]]]:
    violations: list[tuple[str, str]] = []
    return properties_text(Event(properties=struct), violations), violations


def has_nul(value: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    def walk(part: Any) -> Iterator[str]:  # noqa: ANN401
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            for key, inner in part.items():
                yield key
                yield from walk(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from walk(inner)

    return any("\0" in text for text in walk(value))


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> str:
    """An object with `depth` levels, itself the first."""
    return '{"a":' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}"


@given(objects)
def test_json_text_is_stored_as_it_came(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert of_text(text) == (text.encode(), [])


@given(objects)
def test_a_message_is_stored_as_the_json_it_means(value: dict[str, Any]) -> None:
    struct = Struct()
    struct.update(value)
    encoded, violations = of_struct(struct)
    assert (json.loads(encoded), violations) == (value, [])


@pytest.mark.parametrize(
    ("number", "text"),
    [(6, "6"), (6.5, "6.5"), (-0.0, "0"), (2.0**53 - 1, "9007199254740991")],
)
def test_whole_numbers_of_a_message_stay_whole(number: float, text: str) -> None:
    struct = Struct()
    struct.update({"a": number})
    assert of_struct(struct)[0].decode() == f'{{"a":{text}}}'


@given(st.text(st.sampled_from(["\\", "\0", "u", "0", '"', "a"]), max_size=12), st.booleans())
def test_a_nul_is_found_however_it_is_written(text: str, as_key: bool) -> None:  # noqa: FBT001
    value = {text: 1} if as_key else {"a": [text]}
    violations = of_text(json.dumps(value))[1]
    expected = [("properties_json", "contains a NUL character")] if has_nul(value) else []
    assert violations == expected
    struct = Struct()
    struct.update(value)
    assert of_struct(struct)[1] == [("properties", reason) for _, reason in expected]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "is not a JSON object"),
        ("[1]", "is not a JSON object"),
        ('"text"', "is not a JSON object"),
        ("1", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("true", "is not a JSON object"),
        (r'{"a": "\u0000"}', "contains a NUL character"),
        (r'{"a\u0000": 1}', "contains a NUL character"),
        (r'{"a": [{"b": "x\\\u0000"}]}', "contains a NUL character"),
        (nested(33), "is nested deeper than 32 levels"),
        (nested(1_000), "is nested deeper than 32 levels"),
        (nested(1_000, "[", "]"), "is nested deeper than 32 levels"),
        ("[" * 60_000, "is nested deeper than 32 levels"),
        ('{"a":"' + "x" * 65_536 + '"}', "is longer than 65,536 bytes"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_reason(text: str, reason: str) -> None:
    assert of_text(text)[1] == [("properties_json", reason)]


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "{",
        '{"a": 1,}',
        "{'a': 1}",
        "{a: 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 01}',
        '{"a": "\n"}',
        r'{"a": "\ud800"}',
        r'{"a": "\udc00\ud800"}',
        r'{"\ud800": 1}',
        r'{"a": "\x00"}',
        '{"a": 1e400}',
        '{"a": 1e200000}',
        '{"a": 1}{}',
        "\N{ZERO WIDTH NO-BREAK SPACE}{}",
    ],
)
def test_what_is_not_json_is_refused_as_that(text: str) -> None:
    [(field, reason)] = of_text(text)[1]
    assert field == "properties_json"
    assert reason.startswith("is not valid JSON: ")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' {"a": 1} ',
        nested(32),
        nested(32, "[", "]"),
        '{"a":"' + "[{" * 1_000 + '"}',  # brackets in a string nest nothing
        r'{"a":"\"' + "[{" * 1_000 + r'\\"}',
        '{"a":[' + ",".join(["[]"] * 1_000) + "]}",  # many, but not deep
        r'{"a": "\ud83d\ude00"}',  # a pair
        r'{"a": "\\u0000"}',  # the text of an escape
        '{"a": 1, "a": 2}',
        '{"": ""}',
        '{"a":"' + "x" * (65_536 - 8) + '"}',  # exactly 64 KiB
    ],
)
def test_unusual_json_is_stored(text: str) -> None:
    assert of_text(text) == (text.encode(), [])


def test_no_properties_are_no_bytes() -> None:
    assert of_text("") == (b"", [])
    violations: list[tuple[str, str]] = []
    assert properties_text(Event(), violations) == b""
    assert of_struct(Struct()) == (b"{}", [])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_of_a_message_must_be_finite(number: float) -> None:
    struct = Struct(fields={"a": Value(list_value=ListValue(values=[Value(number_value=number)]))})
    assert of_struct(struct)[1] == [("properties", "holds a number that is not finite")]


def test_a_value_without_a_kind_is_refused() -> None:
    assert of_struct(Struct(fields={"a": Value()}))[1] == [("properties", "holds a value without a kind")]


@pytest.mark.parametrize(("depth", "is_stored"), [(32, True), (33, False), (1_000, False)])
@pytest.mark.parametrize("kind", ["struct", "list"])
def test_messages_nest_as_deep_as_text(depth: int, kind: str, is_stored: bool) -> None:  # noqa: FBT001
    event = Event()
    value = event.properties.fields["a"]
    for _ in range(depth - 1):
        value = value.struct_value.fields["a"] if kind == "struct" else value.list_value.values.add()
    value.bool_value = True
    violations: list[tuple[str, str]] = []
    encoded = properties_text(event, violations)
    assert violations == ([] if is_stored else [("properties", "is nested too deeply")])
    assert (not is_stored) or len(json.loads(encoded)) == 1


def test_a_message_is_measured_as_json() -> None:
    struct = Struct()
    struct.update({"a": "x" * (65_536 - 8)})
    assert of_struct(struct)[1] == []
    struct.update({"a": "x" * (65_536 - 7)})
    assert of_struct(struct)[1] == [("properties", "is longer than 65,536 bytes")]


@pytest.mark.parametrize(
    "text", ['{"a": 1e-20000}', '{"a": [{"b": -1.5E-16384}]}', '{"a": 0e99999999999}', '{"a": 1e-325}']
)
def test_a_number_beyond_the_range_of_a_double_is_refused(text: str) -> None:
    violations: list[tuple[str, str]] = []
    properties_text(Event(properties_json=text), violations)
    assert violations == [("properties_json", "holds a number beyond the range of a double")]


@pytest.mark.parametrize("text", ['{"a": 1e308}', '{"a": 5e-324}', '{"a": "5e1234"}', '{"5e1234": 1E+100}'])
def test_exponents_of_doubles_and_texts_like_them_are_taken(text: str) -> None:
    violations: list[tuple[str, str]] = []
    assert properties_text(Event(properties_json=text), violations) == text.encode()
    assert violations == []
