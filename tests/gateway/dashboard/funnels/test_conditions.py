"""Conditions as they are typed."""

import pytest
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from google.protobuf.struct_pb2 import Value

from gateway.dashboard.funnels.conditions import filters

EQUALS = PropertyOperator.PROPERTY_OPERATOR_EQUALS
NOT_EQUALS = PropertyOperator.PROPERTY_OPERATOR_NOT_EQUALS
GREATER = PropertyOperator.PROPERTY_OPERATOR_GREATER
LESS = PropertyOperator.PROPERTY_OPERATOR_LESS
EXISTS = PropertyOperator.PROPERTY_OPERATOR_EXISTS
PRO = Value(string_value="pro")
NINE = Value(number_value=9)
SALT = Value(string_value="salt and pepper")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("plan = pro", [("plan", EQUALS, PRO)]),
        ("plan=pro user", [("plan", EQUALS, Value(string_value="pro user"))]),
        ("a.b != 3", [("a.b", NOT_EQUALS, Value(number_value=3))]),
        ('n = "3"', [("n", EQUALS, Value(string_value="3"))]),
        ("paid = true", [("paid", EQUALS, Value(bool_value=True))]),
        ("n = NaN", [("n", EQUALS, Value(string_value="NaN"))]),
        ("n = null", [("n", EQUALS, Value(string_value="null"))]),
        ("coupon", [("coupon", EXISTS, None)]),
        ("= pro", [("", EQUALS, PRO)]),
        (
            "n > 1.5 and m < 9 and coupon",
            [
                ("n", GREATER, Value(number_value=1.5)),
                ("m", LESS, NINE),
                ("coupon", EXISTS, None),
            ],
        ),
        (
            'title = "salt and pepper" and x = a=b',
            [
                ("title", EQUALS, SALT),
                ("x", EQUALS, Value(string_value="a=b")),
            ],
        ),
    ],
)
def test_conditions_are_read(
    text: str, expected: list[tuple[str, PropertyOperator.ValueType, Value | None]]
) -> None:
    assert filters(text) == [
        PropertyFilter(property=path, operator=operator, values=[value] if value else [])
        for path, operator, value in expected
    ]
