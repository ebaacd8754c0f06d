"""What sessions need of an event's text columns, read from their binary COPY form, a batch at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.events.revision import mix

_WORD = 8
# By how many bytes of a word belong to the text.
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(_WORD + 1)], np.uint64)


def session_columns(tails: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the hash of each event's session id, and whether the event has a page.

    A tail begins with the session id, the text of the event id and the page, each behind its length in four
    bytes, -1 where there is none.
    """
    data, starts, _ = _joined(tails)
    lengths = np.ndarray(len(data) - 3, ">i4", data, strides=(1,))
    id_lengths = lengths[starts].astype(np.int64)
    event_ids = starts + 4 + id_lengths
    pages = event_ids + 4 + np.maximum(lengths[event_ids], 0)
    return _hashes(data, starts + 4, id_lengths), lengths[pages] >= 0


def session_hashes(session_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the hash of each session id, as session_columns does."""
    return _hashes(*_joined([session_id.encode() for session_id in session_ids]))


def _joined(texts: Sequence[bytes]) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
    """Return the texts in one piece, where each begins, and their lengths; words may be read past the end."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return b"".join((*texts, bytes(_WORD))), np.cumsum(lengths) - lengths, lengths


def _hashes(data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a 64-bit hash of each text: its length and its words through the mixer, one after the other."""
    words = np.ndarray(len(data) - _WORD + 1, "<u8", data, strides=(1,))
    hashes = mix(lengths.astype(np.uint64))
    rows = np.arange(len(starts))
    read = 0
    while len(rows := rows[lengths[rows] > read]):
        masks = _MASKS[np.minimum(lengths[rows] - read, _WORD)]
        hashes[rows] = mix(hashes[rows] ^ (words[starts[rows] + read] & masks))
        read += _WORD
    return hashes.view(np.int64)
