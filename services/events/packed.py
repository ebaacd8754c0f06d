"""Packed columns: what PostgreSQL's string_agg of a type's send function returns, as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# PostgreSQL counts microseconds from 2000-01-01.
POSTGRES_EPOCH_MICROS = 946_684_800_000_000


def columns(row: Sequence[bytes | None], kinds: Sequence[str]) -> list[NDArray[Any]]:
    """Return the packed columns of one row as arrays of the given (big-endian) types; NULL is empty.

    Arrays of numbers are converted to the machine's byte order.
    """
    return [_column(packed or b"", np.dtype(kind)) for packed, kind in zip(row, kinds, strict=True)]


def _column(packed: bytes, kind: np.dtype[Any]) -> NDArray[Any]:
    array = np.frombuffer(packed, kind)
    return array if kind.kind == "V" else array.astype(kind.newbyteorder("="))


def unix_times(packed: bytes | None) -> NDArray[np.int64]:
    """Return a column of timestamptz_send as Unix microseconds."""
    times: NDArray[np.int64] = np.frombuffer(packed or b"", ">i8").astype(np.int64)
    times += POSTGRES_EPOCH_MICROS
    return times
