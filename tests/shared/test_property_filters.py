"""Filters that cannot be evaluated are refused before they are kept."""

import math

import pytest
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from google.protobuf.struct_pb2 import ListValue, Value

from shared.errors import InvalidArgument
from shared.property_filters import check
from shared.validation import Violations

EQUALS, IN, GREATER, EXISTS = (
    PropertyOperator.PROPERTY_OPERATOR_EQUALS,
    PropertyOperator.PROPERTY_OPERATOR_IN,
    PropertyOperator.PROPERTY_OPERATOR_GREATER,
    PropertyOperator.PROPERTY_OPERATOR_EXISTS,
)
TEXT, NUMBER = Value(string_value="x"), Value(number_value=1)


def faults(*filters: PropertyFilter) -> set[str]:
    violations = Violations()
    check(violations, "filters", filters)
    try:
        violations.raise_if_any()
    except InvalidArgument as error:
        return {each.field for each in error.violations}
    return set()


@pytest.mark.parametrize(
    "good",
    [
        PropertyFilter(property="a.b", operator=EQUALS, values=[TEXT]),
        PropertyFilter(property="a", operator=EQUALS, values=[Value(null_value=0)]),  # type: ignore[arg-type]
        PropertyFilter(property="a", operator=IN, values=[TEXT, NUMBER, Value(bool_value=True)]),
        PropertyFilter(property="a", operator=GREATER, values=[NUMBER]),
        PropertyFilter(property="a", operator=EXISTS),
    ],
)
def test_what_can_be_evaluated_is_accepted(good: PropertyFilter) -> None:
    assert faults(good) == set()


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (PropertyFilter(operator=EXISTS), "property"),
        (PropertyFilter(property="a..b", operator=EXISTS), "property"),
        (PropertyFilter(property=".".join("abcdefghi"), operator=EXISTS), "property"),
        (PropertyFilter(property="a"), "operator"),
        (PropertyFilter(property="a", operator=EXISTS, values=[TEXT]), "values"),
        (PropertyFilter(property="a", operator=IN), "values"),
        (PropertyFilter(property="a", operator=EQUALS, values=[TEXT, TEXT]), "values"),
        (PropertyFilter(property="a", operator=EQUALS, values=[Value()]), "values[0]"),
        (PropertyFilter(property="a", operator=EQUALS, values=[Value(list_value=ListValue())]), "values[0]"),
        (PropertyFilter(property="a", operator=EQUALS, values=[Value(string_value="\0")]), "values[0]"),
        (PropertyFilter(property="a", operator=GREATER, values=[Value(number_value=math.nan)]), "values[0]"),
        (PropertyFilter(property="a", operator=GREATER, values=[TEXT]), "values[0]"),
    ],
)
def test_what_cannot_names_its_field(bad: PropertyFilter, field: str) -> None:
    assert f"filters[0].{field}" in faults(bad)


def test_there_are_at_most_20() -> None:
    assert faults(*[PropertyFilter()] * 21) == {"filters"}
