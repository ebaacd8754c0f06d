"""Where somebody lies between 0 and 1: the same for ever, on every machine and in every language.

position(salt, who) = the first 8 bytes of SHA-256 of the UTF-8 text `salt:kind:id`, as a big-endian number,
÷ 2⁶⁴. `kind` is "user" or "anonymous"; ids are taken as they are, without any normalisation. Three salts, so
that the three questions do not depend on one another:

- `namespace:<namespace>`: which slice of the namespace;
- `coverage:<experiment key>`: takes part where it is below the coverage, so that raising it adds people;
- `variant:<experiment key>`: which variant, by the running total of the shares.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from services.experiments.domain import WHOLE
from shared.who import PersonKind, Who

_SPAN = 1 << 64
_KINDS = {PersonKind.USER: "user", PersonKind.ANONYMOUS: "anonymous"}


def position(salt: str, who: Who) -> int:
    """Return 2⁶⁴ times the position."""
    kind, name = who
    digest = hashlib.sha256(f"{salt}:{_KINDS[kind]}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def is_below(place: int, share: int) -> bool:
    """Return whether a position lies below a share in hundredths of a percent."""
    return place * WHOLE < share * _SPAN


def variant_at(place: int, shares: Sequence[int]) -> int:
    """Return the variant at a position; the shares add up to the whole."""
    return next(at for at, end in enumerate(accumulate(shares)) if is_below(place, end))
