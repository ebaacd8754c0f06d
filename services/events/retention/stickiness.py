"""Stickiness: on how many days of a period people were active."""

from collections.abc import Sequence

from pyroaring import BitMap


def people_by_days(days: Sequence[BitMap]) -> list[int]:
    """Return how many people are in exactly 1, 2, … len(days) of the sets.

    Each person's count is kept in binary, a set for each bit, and a day is added to all of them at once with
    carries: some log₂ operations on sets for each day instead of one addition for each person and day
    (bit-sliced sums: O'Neil and Quass, "Improved Query Performance with Variant Indexes", SIGMOD 1997).
    """
    planes: list[BitMap] = []
    for day in days:
        carry = day
        for bit, plane in enumerate(planes):
            planes[bit], carry = plane ^ carry, plane & carry
        if carry:
            planes.append(carry)
    result = [0] * (len(days) + 1)
    everybody = BitMap.union(*days) if days else BitMap()
    _divide(everybody, planes, 0, result)
    return result[1:]


def _divide(users: BitMap, planes: list[BitMap], number: int, result: list[int]) -> None:
    """Tell people apart by the highest bit of their count, then by the next."""
    if not users:
        return
    if not planes:
        result[number] = len(users)
        return
    *lower, highest = planes
    _divide(users & highest, lower, number + (1 << len(lower)), result)
    _divide(users - highest, lower, number, result)
