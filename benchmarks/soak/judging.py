"""Whether what was sampled is flat. Pure.

Growth is the Theil-Sen slope (the median of the slopes between all pairs of samples: Sen 1968, doi
10.1080/01621459.1968.10480934) over the time that was measured. Up to 29 % of the samples may be anything
without it going astray, so a moment's work does not look like a leak, nor hide one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
from scipy import stats

# A leak shows as bytes a call. Each service takes more than 5,000 calls in fifteen minutes, so that 800 bytes
# a call, a small dictionary or a string or two, cross the first bound; what the allocator holds on to between
# its own returns of pages stays below it. Large processes move by more than that without a cause.
GROWTH_BYTES = 4 * 2**20
GROWTH_RATIO = 0.03
# Pools make their last threads when calls happen to meet, and gRPC lends itself one or two. A thread left
# behind by each call or connection would be thousands.
MORE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Held:
    """What a part of the suite held, second by second, threads at rest before and after; memory in bytes."""

    seconds: Sequence[float]
    private: Sequence[int]
    descriptors: Sequence[int]
    threads_before: int
    threads_after: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of it."""

    median: float  # bytes
    growth: float  # bytes over the whole time
    bound: float  # bytes that it may grow
    is_flat: bool
    descriptors_first: int  # most of the time in the first third
    descriptors_last: int  # in the last
    threads_returned: bool  # no more than pools may have made meanwhile

    @property
    def keeps_descriptors(self) -> bool:
        """Whether there are more of them in the end."""
        return self.descriptors_last > self.descriptors_first


def judge(held: Held) -> Judgement:
    """Judge one part; there must be two samples at least."""
    median = float(np.median(held.private))
    growth = slope(held.seconds, held.private) * (held.seconds[-1] - held.seconds[0])
    bound = max(GROWTH_BYTES, GROWTH_RATIO * median)
    third = -(-len(held.descriptors) // 3)
    # Not at rest: servers close connections of a certain age, and clients open them when they call next.
    first, last = median_low(held.descriptors[:third]), median_low(held.descriptors[-third:])
    return Judgement(
        median=median,
        growth=growth,
        bound=bound,
        is_flat=growth <= bound,
        descriptors_first=first,
        descriptors_last=last,
        threads_returned=held.threads_after <= held.threads_before + MORE_THREADS,
    )


def slope(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Return the Theil-Sen slope a second."""
    return float(stats.theilslopes(values, seconds).slope)


def miscounted(acknowledged: Mapping[str, int], counted: Mapping[str, int]) -> list[str]:
    """Say of which events another number is counted than was acknowledged."""
    return [
        f"{name}: {acknowledged.get(name, 0)} acknowledged, {counted.get(name, 0)} counted"
        for name in sorted(acknowledged.keys() | counted.keys())
        if acknowledged.get(name, 0) != counted.get(name, 0)
    ]
