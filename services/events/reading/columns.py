"""Columns of raw events in memory, and putting them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROW_BITS = 32


@dataclass(frozen=True, slots=True)
class Columns:
    """Events sorted by user key, then time (Unix µs), all of one length.

    codes: which of the texts, JSON values of one property, each event has; -1 where it lacks the property.
    None where no property was asked for.
    """

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    codes: NDArray[np.int32] | None = None
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user_keys)

    def take(self, rows: "NDArray[np.intp] | NDArray[np.bool_]") -> "Columns":
        """Return some of the events, in order."""
        codes = None if self.codes is None else self.codes[rows]
        return Columns(self.user_keys[rows], self.times[rows], codes, self.texts)


def joined(parts: Sequence[Columns]) -> Columns:
    """Return all events in one. No event of a part is earlier than one of the part before it."""
    if not parts:
        return Columns(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32))
    user_keys = np.concatenate([part.user_keys for part in parts])
    times = np.concatenate([part.times for part in parts])
    codes, texts = _recoded(parts)
    order = by_user(user_keys)
    return Columns(user_keys[order], times[order], None if codes is None else codes[order], texts)


def by_user(user_keys: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the rows in the order of their users, those of one as they stood.

    Sorting numbers of user and row takes a third of the time of a stable argsort.
    """
    order = user_keys.astype(np.int64)
    order <<= _ROW_BITS
    order |= np.arange(len(user_keys))
    order.sort()
    order &= (1 << _ROW_BITS) - 1
    return order


def _recoded(parts: Sequence[Columns]) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Return codes of one dictionary, which is sorted."""
    if any(part.codes is None for part in parts):
        return None, ()
    texts = sorted({text for part in parts for text in part.texts})
    code_of = {text: code for code, text in enumerate(texts)}
    columns = []
    for part in parts:
        # The last place is that of the code -1.
        table = np.array([*(code_of[text] for text in part.texts), -1], np.int32)
        columns.append(table[part.codes])
    return np.concatenate(columns), tuple(texts)
