"""Filters on the properties of property_events.py: every operator with every kind of value that it takes."""

from typing import Any

from brain.common.v1 import common_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from services.events.domain import Operator

Operators = common_pb2.PropertyOperator
FILTERS: list[tuple[str, Operator, tuple[Any, ...]]] = [
    ("plan", operator, (value,))
    for operator in (Operator.EQUALS, Operator.NOT_EQUALS, Operator.CONTAINS)
    for value in ("gold", "6", "", "é", 6, 6.5, 1000, 0, True, False, None, 9007199254740992)
]
FILTERS += [
    ("plan", operator, (value,)) for operator in (Operator.GREATER, Operator.LESS) for value in (6, 6.4, -1)
]
FILTERS += [
    ("plan", Operator.EXISTS, ()),
    ("plan", Operator.IN, ("gold", 6, None, True)),
    ("plan", Operator.IN, ("nothing",)),
    ("plan.b", Operator.EQUALS, (6,)),
    ("plan.1", Operator.EQUALS, ("gold",)),
    ("plan.a.1.c", Operator.CONTAINS, ("ol",)),
    ("address.city", Operator.EQUALS, ("Oslo",)),
    ("address.city", Operator.NOT_EQUALS, ("Oslo",)),
    ("address.city", Operator.IN, ("Oslo", 7)),
    ("address.city.name", Operator.EXISTS, ()),
    ("address.city.0", Operator.EQUALS, ("Oslo",)),
    ("address.city", Operator.CONTAINS, ("Rome",)),
    ("address", Operator.EXISTS, ()),
    ("nowhere.at.all", Operator.NOT_EQUALS, (1,)),
]


def filter_of(path: str, operator: Operator, values: tuple[Any, ...]) -> common_pb2.PropertyFilter:
    return common_pb2.PropertyFilter(
        property=path,
        operator=Operators.ValueType(operator.value),
        values=[ParseDict(value, Value()) for value in values],
    )
