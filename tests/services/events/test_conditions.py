"""Property filters in SQL against the contract's words in Python, on random JSON in a real PostgreSQL."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.events.domain import Condition, Operator, Scalar
from services.events.reading.conditions import to_sql
from shared.database import driver_cursor

ABSENT = object()

# Quotes, placeholders, separators, digits, what SQL and JSON reserve: names and texts alike.
WEIRD = [
    "a",
    "b",
    "a.b",
    "it's",
    'say "so"',
    "100%",
    "%s",
    "%(value_0)s",
    "{}",
    "{0}",
    "\\",
    "\\u0041",
    "$1",
    "NULL",
]
WEIRD += [
    "null",
    "",
    " ",
    "ab",
    "A",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{GRINNING FACE}",
    "a,b",
    "--",
    "6",
    "true",
]
texts = st.sampled_from(WEIRD)
numbers = (
    st.integers(-3, 7)
    | st.sampled_from([0.1, -0.5, 6.0, 1e-7, 1e300, -1e300, 2**53 - 1, 0.30000000000000004])
    | st.floats(-10, 10, allow_subnormal=False)
)
scalars: st.SearchStrategy[Scalar] = st.none() | st.booleans() | texts | numbers
# Few, so that paths meet. None of digits: those step into arrays, which the contract does not speak of.
names = st.sampled_from(["a", "b", "it's %s"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
documents = st.none() | st.dictionaries(names, values, max_size=4)
paths = st.lists(names, min_size=1, max_size=3).map(tuple)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from(Operator))
    match operator:
        case Operator.EXISTS:
            expected: tuple[Scalar, ...] = ()
        case Operator.IN:
            expected = tuple(draw(st.lists(scalars, min_size=1, max_size=4)))
        case Operator.GREATER | Operator.LESS:
            expected = (draw(numbers),)
        case _:
            expected = (draw(scalars),)
    return Condition(draw(paths), operator, expected)


def at(document: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return ABSENT
    return document


def is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def decimal(value: Any) -> Decimal:  # noqa: ANN401 - a number
    """What the digits say, as they stand in JSON."""
    return value if isinstance(value, Decimal) else Decimal(repr(value))


def equals(found: object, wanted: Scalar) -> bool:
    if is_number(found) and is_number(wanted):
        return decimal(found) == decimal(wanted)
    return type(found) is type(wanted) and found == wanted


def contains(found: object, wanted: Scalar) -> bool:
    if isinstance(found, list):
        return any(equals(element, wanted) for element in found)
    return isinstance(found, str) and isinstance(wanted, str) and wanted in found


def holds(condition: Condition, document: object) -> bool:
    """The operators as brain.common.v1.PropertyOperator describes them."""
    found = at(document, condition.path)
    first = condition.values[0] if condition.values else None
    return {
        Operator.EQUALS: lambda: equals(found, first),
        Operator.NOT_EQUALS: lambda: not equals(found, first),
        Operator.IN: lambda: any(equals(found, value) for value in condition.values),
        Operator.CONTAINS: lambda: contains(found, first),
        Operator.GREATER: lambda: is_number(found) and decimal(found) > decimal(first),
        Operator.LESS: lambda: is_number(found) and decimal(found) < decimal(first),
        Operator.EXISTS: lambda: found is not ABSENT,
    }[condition.operator]()


Cursor = psycopg.Cursor[tuple[Any, ...]]


@pytest.fixture
def cursor(engine: sqlalchemy.Engine) -> Iterator[Cursor]:
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute("CREATE TEMPORARY TABLE stored (number int, properties jsonb)")
        yield cursor


def matching(cursor: Cursor, documents: list[Any], asked: tuple[Condition, ...]) -> list[int]:
    texts = [None if document is None else json.dumps(document) for document in documents]
    cursor.execute("TRUNCATE stored")
    cursor.executemany("INSERT INTO stored VALUES (%s, %s)", list(enumerate(texts)))
    clauses, parameters = to_sql(asked)
    statement = f"SELECT number FROM stored WHERE true {clauses} ORDER BY number"
    return [number for (number,) in cursor.execute(statement.encode(), parameters).fetchall()]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    stored=st.lists(documents, min_size=1, max_size=8), asked=st.lists(conditions(), min_size=1, max_size=3)
)
def test_conditions_mean_what_the_contract_says(
    cursor: Cursor, stored: list[Any], asked: list[Condition]
) -> None:
    for several in [(condition,) for condition in asked] + [tuple(asked)]:
        expected = [
            number
            for number, document in enumerate(stored)
            if all(holds(condition, document) for condition in several)
        ]
        assert matching(cursor, stored, several) == expected


DOCUMENTS: list[Any] = [
    {"a": 6},
    {"a": "6"},
    {"a": 6.0},
    {"a": True},
    {"a": 1},
    {"a": None},
    {"a": {"b": "x6y"}},
    {"a": ["6", 6, "x6y", None, [1]]},
    {"A": 6},
    {},
    None,
]


EXPECTED: list[tuple[Operator, tuple[Scalar, ...], list[int]]] = [
    (Operator.EQUALS, (6,), [0, 2]),
    (Operator.EQUALS, ("6",), [1]),
    (Operator.EQUALS, (True,), [3]),
    (Operator.EQUALS, (1,), [4]),
    (Operator.EQUALS, (None,), [5]),
    (Operator.NOT_EQUALS, (6,), [1, 3, 4, 5, 6, 7, 8, 9, 10]),
    (Operator.NOT_EQUALS, (None,), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]),
    (Operator.IN, (6, True, None), [0, 2, 3, 5]),
    (Operator.IN, ("6",), [1]),
    (Operator.GREATER, (5.5,), [0, 2]),
    (Operator.GREATER, (6,), []),
    (Operator.LESS, (6,), [4]),
    (Operator.EXISTS, (), [0, 1, 2, 3, 4, 5, 6, 7]),
    (Operator.CONTAINS, ("6",), [1, 7]),
    (Operator.CONTAINS, (6,), [7]),
    (Operator.CONTAINS, (None,), [7]),
    (Operator.CONTAINS, (1,), []),  # an element of an element is none
]


def test_comparing_is_typed(cursor: Cursor) -> None:
    for operator, values, expected in EXPECTED:
        assert matching(cursor, DOCUMENTS, (Condition(("a",), operator, values),)) == expected, operator


def test_a_string_contains_its_parts(cursor: Cursor) -> None:
    for text in ("x6y", "6", ""):
        assert matching(cursor, DOCUMENTS, (Condition(("a", "b"), Operator.CONTAINS, (text,)),)) == [6]
    assert matching(cursor, DOCUMENTS, (Condition(("a", "b"), Operator.CONTAINS, ("Y",)),)) == []


def test_no_text_contains_a_value_that_is_none(cursor: Cursor) -> None:
    for text in ("true", "5", "null"):
        for value, expected in ((json.loads(text), []), (text, [0])):
            asked = Condition(("a",), Operator.CONTAINS, (value,))
            assert matching(cursor, [{"a": text}], (asked,)) == expected


def test_names_and_values_of_any_text_are_only_text(cursor: Cursor) -> None:
    for name in WEIRD:
        stored = [{name: name}, {"other": name}, {"other": {name: [name]}}]
        for operator in (Operator.EQUALS, Operator.IN, Operator.CONTAINS):
            assert matching(cursor, stored, (Condition((name,), operator, (name,)),)) == [0]
            assert matching(cursor, stored, (Condition(("other",), operator, (name,)),)) == [1]
        assert matching(cursor, stored, (Condition(("other", name), Operator.CONTAINS, (name,)),)) == [2]
        assert matching(cursor, stored, (Condition((name,), Operator.EXISTS),)) == [0]


def test_a_thousand_values_and_twenty_conditions_are_taken(cursor: Cursor) -> None:
    stored = [{"a": number} for number in range(0, 3_000, 250)]
    many = Condition(("a",), Operator.IN, tuple(range(1_000)))
    assert matching(cursor, stored, (many,) * 20) == [0, 1, 2, 3]
