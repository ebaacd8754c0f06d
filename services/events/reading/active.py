"""Who was active: trailing windows over daily sets."""

from typing import TYPE_CHECKING

from pyroaring import BitMap

if TYPE_CHECKING:
    from collections.abc import Sequence


def trailing_unions(days: "Sequence[BitMap]", width: int) -> list[BitMap]:
    """Return, for each day from the width-th on, the union of the `width` days ending with it.

    Cutting the days into blocks of the width makes a window a suffix of one block and a prefix of the next:
    three unions a day whatever the width (van Herk, Pattern Recognition Letters 13, 1992).
    """
    suffixes: list[BitMap] = [BitMap()] * len(days)
    prefixes: list[BitMap] = [BitMap()] * len(days)
    for position, day in enumerate(days):
        prefixes[position] = day if position % width == 0 else prefixes[position - 1] | day
    for position in range(len(days) - 1, -1, -1):
        is_end = position % width == width - 1 or position == len(days) - 1
        suffixes[position] = days[position] if is_end else days[position] | suffixes[position + 1]
    return [
        suffixes[last - width + 1] | prefixes[last] if last % width != width - 1 else prefixes[last]
        for last in range(width - 1, len(days))
    ]
