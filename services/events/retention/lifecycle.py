"""Life cycles: how the people of a period divide by what they did before it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyroaring import BitMap


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """People of one period; `dormant` are those of the period before who are not in this one."""

    active: int
    new: int
    returning: int
    resurrected: int
    dormant: int


def lifecycles(before: BitMap, previous: BitMap, periods: Sequence[BitMap]) -> list[Lifecycle]:
    """Return the life cycle of each period.

    Args:
        before: who was active before the period `previous`.
        previous: who was active in the period just before the first one.
        periods: who was active in each period, one following the other.

    """
    earlier = before | previous
    result = []
    for users in periods:
        active = len(users)
        known = users.intersection_cardinality(earlier)
        returning = users.intersection_cardinality(previous)
        dormant = len(previous) - returning
        result.append(Lifecycle(active, active - known, returning, known - returning, dormant))
        earlier = earlier | users
        previous = users
    return result


def newcomers(before: BitMap, periods: Sequence[BitMap]) -> list[BitMap]:
    """Return who of each period was in none of the periods before, nor in `before`."""
    result = []
    seen = before
    for users in periods:
        result.append(users - seen)
        seen = seen | users
    return result
