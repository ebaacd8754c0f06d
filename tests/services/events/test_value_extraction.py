"""The JSON text of a value, as PostgreSQL would write it, or the admission that only PostgreSQL knows."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.events.ingest.batch import properties_column, text_column
from services.events.value_rollups.extraction import UNSURE, properties_of, value_text
from shared.database import driver_cursor

Cursor = psycopg.Cursor[tuple[Any, ...]]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(characters, max_size=8)
scalars = st.none() | st.booleans() | texts | st.integers() | st.floats(-1e9, 1e9)
names = st.sampled_from(["a", "b", "0", "-1", "é"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def cursor(engine: sqlalchemy.Engine) -> Iterator[Cursor]:
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        yield cursor


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, values, max_size=4), st.lists(names, min_size=1, max_size=3))
def test_what_is_sure_is_what_postgresql_says(cursor: Cursor, document: Any, path: list[str]) -> None:  # noqa: ANN401 - JSON
    written = json.dumps(document)
    [expected] = cursor.execute(
        "SELECT (%(document)s::jsonb #> %(path)s::text[])::text", {"document": written, "path": path}
    ).fetchone() or (None,)
    found = value_text(orjson.loads(written), path)
    assert found is UNSURE or found == expected


@pytest.mark.parametrize(
    "text", ['"é\\u0007\\n\\"\\\\/\x7f"', "0", "-0", "12", "9223372036854775807", "true", "null"]
)
def test_plain_values_are_sure(cursor: Cursor, text: str) -> None:
    [expected] = cursor.execute("SELECT %(text)s::jsonb::text", {"text": text}).fetchone() or (None,)
    assert value_text(orjson.loads(f'{{"a": {{"b": {text}}}}}'), ("a", "b")) == expected


def test_nowhere_is_none() -> None:
    for document in (None, {}, {"a": 1}, {"a": {"c": 1}}, {"a": "b"}):
        assert value_text(document, ("a", "b")) is None


@given(st.lists(texts, min_size=5, max_size=5), st.dictionaries(texts, texts, max_size=3) | st.none())
def test_properties_are_found_behind_the_texts(columns: list[str], properties: dict[str, str] | None) -> None:
    encoded = b"" if properties is None else orjson.dumps(properties)
    tail = b"".join(map(text_column, columns)) + properties_column(encoded)
    assert properties_of(tail) == encoded
