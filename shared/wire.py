"""Says which fields of a message made it undecodable.

protobuf only says that parsing failed. This walks the bytes after such a failure, parsing each part with
protobuf itself, and steps into the parts that fail.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from shared.errors import FieldViolation

# protobuf's own limit.
_MAXIMUM_DEPTH = 100
# Walking costs about a microsecond a field; nobody shall buy minutes of it with one request.
_MAXIMUM_FIELDS = 200_000
_MAXIMUM_VIOLATIONS = 100

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10


class _MalformedError(Exception):
    """These bytes are not fields."""


class _TooManyFieldsError(Exception):
    """The walk is given up."""


def undecodable(data: bytes, message: Message | type[Message]) -> list[FieldViolation]:
    """Return what is wrong with `data`, which such a message could not be parsed from.

    Each field is a path such as `events[3].page`, or empty where no field can be blamed. The list is never
    empty, and ends after a hundred.
    """
    found: list[FieldViolation] = []
    walk = _Walk(_MAXIMUM_DEPTH, iter(range(_MAXIMUM_FIELDS)))
    with suppress(_TooManyFieldsError):
        for fault in islice(_faults(data, message.DESCRIPTOR, "", walk), _MAXIMUM_VIOLATIONS):  # type: ignore[arg-type]  # one type, two names
            found.append(fault)  # noqa: PERF402 - what was found before the walk is given up is told
    return found or [FieldViolation("", f"is not a valid {message.DESCRIPTOR.full_name}")]


@dataclass(frozen=True)
class _Walk:
    """What is left: levels below this one, and fields in all."""

    depth: int
    fields: Iterator[int]

    def below(self) -> "_Walk":
        return _Walk(self.depth - 1, self.fields)


def _faults(data: bytes, descriptor: Descriptor, path: str, walk: _Walk) -> Iterator[FieldViolation]:
    if walk.depth == 0:
        yield _too_deep(path)
        return
    seen: Counter[int] = Counter()
    faultless = True
    try:
        for number, value in _delimited_fields(data, walk.fields):
            field = descriptor.fields_by_number.get(number)
            if field is None:
                continue
            if _is_faulty(value, field):
                faultless = False
                yield from _faults_of_field(value, field, _join(path, field, seen[number]), walk)
            seen[number] += 1
    except _MalformedError:
        yield FieldViolation(path, f"is not a valid {descriptor.full_name}")
    else:
        if faultless:  # every part is fine alone: together they exceed protobuf's depth
            yield _too_deep(path)


def _faults_of_field(
    value: bytes, field: FieldDescriptor, path: str, walk: _Walk
) -> Iterator[FieldViolation]:
    if field.message_type is None:
        yield FieldViolation(path, "is not valid UTF-8")
    else:
        yield from _faults(value, field.message_type, path, walk.below())


def _too_deep(path: str) -> FieldViolation:
    return FieldViolation(path, f"is nested deeper than {_MAXIMUM_DEPTH} levels")


def _is_faulty(value: bytes, field: FieldDescriptor) -> bool:
    try:
        if field.type == FieldDescriptor.TYPE_STRING:
            value.decode()
        elif field.message_type is not None:
            GetMessageClass(field.message_type).FromString(value)
    except (UnicodeDecodeError, DecodeError):
        return True
    return False


def _join(path: str, field: FieldDescriptor, index: int) -> str:
    name = f"{field.name}[{index}]" if field.is_repeated else field.name
    return f"{path}.{name}" if path else name


def _delimited_fields(data: bytes, budget: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of length-delimited fields; step over the others."""
    position = 0
    for _ in budget:
        if position >= len(data):
            return
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == _DELIMITED:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise _MalformedError
            yield tag >> 3, data[position : position + length]
            position += length
        else:
            position = _after_scalar(data, position, wire_type)
    raise _TooManyFieldsError


def _after_scalar(data: bytes, position: int, wire_type: int) -> int:
    if wire_type == _VARINT:
        _, position = _varint(data, position)
    elif wire_type == _FIXED64:
        position += 8
    elif wire_type == _FIXED32:
        position += 4
    else:  # groups, which proto3 has not
        raise _MalformedError
    if position > len(data):
        raise _MalformedError
    return position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + place + 1
    raise _MalformedError
