"""Array parameters that go to PostgreSQL as columns, without touching their elements one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format


@dataclass(frozen=True, slots=True)
class ElementType:
    """The binary form of a type's elements, and PostgreSQL's number of the type."""

    kind: str
    oid: int


INT2 = ElementType(">i2", 21)
INT4 = ElementType(">i4", 23)
INT8 = ElementType(">i8", 20)
TIMESTAMPTZ = ElementType(">i8", 1184)
UUID = ElementType("V16", 2950)
# Of 16 bytes each, as BlindIndex makes them.
BYTEA16 = ElementType("V16", 17)


@dataclass(frozen=True, slots=True)
class PackedArray:
    """An array parameter: a column and the type of its elements. Needs the placeholder %(name)b."""

    column: NDArray[Any]
    element: ElementType


class _PackedArrayDumper(Dumper):
    """Sends a column as a binary array."""

    format = Format.BINARY

    def dump(self, obj: PackedArray) -> bytes:
        """Return dimensions, no NULLs, type, length, lower bound, and the elements."""
        head = np.array([1, 0, obj.element.oid, len(obj.column), 1], ">i4")
        return head.tobytes() + with_lengths(obj.column, obj.element.kind).tobytes()


# Before any connection is made: each takes over what is registered then.
psycopg.adapters.register_dumper(PackedArray, _PackedArrayDumper)


def with_lengths(column: NDArray[Any], kind: str) -> NDArray[np.void]:
    """Return the elements in binary form, each behind its length."""
    fields = np.empty(len(column), [("length", ">i4"), ("field", kind)])
    fields["length"] = np.dtype(kind).itemsize
    fields["field"] = column
    return fields
