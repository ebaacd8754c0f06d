"""An event's properties as JSON text that PostgreSQL and every reader will accept."""

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import orjson

from shared.json_values import struct_to_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.events.v1.events_pb2 import Event

MAXIMUM_BYTES = 64 * 1024
MAXIMUM_DEPTH = 32
MAXIMUM_EXPONENT = 324  # the least double is 5e-324
# The first finds candidates quickly, the second tells those that belong to a number.
_maybe_exponent = re.compile(r"[eE][+-]?\d{3}").search
_exponent = re.compile(r"\d[eE][+-]?\d{3}").search
_QUOTE, _BACKSLASH = b'"\\'
# An escape, not the text of one: an even number of backslashes stands before it.
_escaped_nul = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search


def properties_text(event: "Event", violations: list[tuple[str, str]]) -> bytes:
    """Return the JSON object as UTF-8, empty where there is none; or add (field, reason) to violations."""
    text = event.properties_json
    if text:
        encoded, reason = _checked(text)
        field = "properties_json"
    elif event.HasField("properties"):
        encoded, reason = _converted(event)
        field = "properties"
    else:
        return b""
    if reason:
        violations.append((field, reason))
    return encoded


def all_properties(events: "Sequence[Event]", texts: "Sequence[str]") -> list[bytes] | None:
    """Return what properties_text returns for each event, or None where one needs a closer look.

    texts are the events' properties_json.
    """
    present = [text for text in texts if text]
    if len(present) < len(events) and any(event.HasField("properties") for event in events):
        return None
    joined = "".join(present)
    if "\\u0000" in joined or max(map(len, texts)) > MAXIMUM_BYTES // 4:
        return None
    is_flat = joined.count("{") == len(present) and "[" not in joined
    if not is_flat and max(text.count("{") + text.count("[") for text in present) > MAXIMUM_DEPTH:
        return None
    encoded = list(map(str.encode, texts))
    if _has_exponent(b"".join(encoded)) and any(map(_exponent, present)):
        return None
    try:
        kinds = set(map(type, map(orjson.loads, filter(None, encoded))))
    except orjson.JSONDecodeError:
        return None
    return encoded if kinds <= {dict} else None


def _has_exponent(texts: bytes) -> bool:
    """Tell whether an e follows a digit anywhere: a tenth of the time that the expressions above take."""
    characters = np.frombuffer(texts, np.uint8)
    before = characters[:-1]
    is_digit = (before >= ord("0")) & (before <= ord("9"))
    is_e = characters[1:] | 0x20 == ord("e")
    return bool((is_digit & is_e).any())


def _checked(text: str) -> tuple[bytes, str]:
    encoded = text.encode()
    if len(encoded) > MAXIMUM_BYTES:
        return b"", f"is longer than {MAXIMUM_BYTES:,} bytes"
    if text.count("{") + text.count("[") > MAXIMUM_DEPTH and _depth(encoded) > MAXIMUM_DEPTH:
        return b"", f"is nested deeper than {MAXIMUM_DEPTH} levels"
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        return b"", f"is not valid JSON: {error.msg}"
    if _maybe_exponent(text) and _exponent(text) and not _within_doubles(text):
        return b"", "holds a number beyond the range of a double"
    if type(value) is not dict:
        return b"", "is not a JSON object"
    return encoded, "contains a NUL character" if _has_nul(encoded) else ""


def _converted(event: "Event") -> tuple[bytes, str]:
    try:
        encoded = orjson.dumps(struct_to_dict(event.properties, MAXIMUM_DEPTH))
    except ValueError as error:
        return b"", str(error)
    if len(encoded) > MAXIMUM_BYTES:
        return b"", f"is longer than {MAXIMUM_BYTES:,} bytes"
    return encoded, "contains a NUL character" if _has_nul(encoded) else ""


def _has_nul(encoded: bytes) -> bool:
    return b"\\u0000" in encoded and _escaped_nul(encoded) is not None


def _within_doubles(text: str) -> bool:
    """Tell whether every number has an exponent a double can have.

    PostgreSQL keeps decimals exactly: "1e-16383" takes 8 bytes in and 16 kB out.
    """

    def checked(number: str) -> float:
        exponent = number.lower().partition("e")[2]
        if exponent and abs(int(exponent)) > MAXIMUM_EXPONENT:
            raise OverflowError
        return 0.0

    try:
        json.loads(text, parse_float=checked)
    except OverflowError:
        return False
    return True


def _depth(encoded: bytes) -> int:
    """Return the deepest nesting without building values: brackets outside strings."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in encoded:
        if in_string:
            if escaped:
                escaped = False
            elif byte == _BACKSLASH:
                escaped = True
            elif byte == _QUOTE:
                in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest
