"""What best attempts come to: people, losses and times of each step. Pure functions over arrays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.funnels.columns import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.funnels.domain import Funnel

_SECOND = 1e6  # µs
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# Spans that people talk about; the same for every step and range, so that they can be compared.
BIN_EDGES_SECONDS = (
    *(0, 1, 2, 5, 10, 20, 30),
    *(each * _MINUTE for each in (1, 2, 5, 10, 20, 30)),
    *(each * _HOUR for each in (1, 2, 4, 8, 12)),
    *(each * _DAY for each in (1, 2, 3, 5, 7, 14, 30, 60, 90, 180, 366)),
)


@dataclass(frozen=True, slots=True)
class StepCount:
    """What became of a step. None stands for what a step cannot have, or for a number of nobody.

    users: who did it; conversions: those of them who did the next required step; arrivals: those of them who
    did the required step before; dropoff: people of that step who did not come here.
    """

    users: int
    conversions: int
    dropoff: int | None
    conversion_ratio: float | None
    step_ratio: float | None
    mean_seconds: float | None
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class Completion:
    """From the first step to the last."""

    starters: int
    finishers: int
    mean_seconds: float | None
    median_seconds: float | None

    @property
    def ratio(self) -> float | None:
        """Finishers ÷ starters."""
        return self.finishers / self.starters if self.starters else None


def step_counts(times: NDArray[np.int64], funnel: "Funnel") -> list[StepCount]:
    """Count the people of every step.

    Args:
        times: a row for each person, a column for each step; Unix µs, NEVER where it was not done.
        funnel: whose steps these are.

    """
    done = times != NEVER
    return [_step_count(times, done, funnel, step) for step in range(len(funnel.steps))]


def _step_count(times: NDArray[np.int64], done: NDArray[np.bool_], funnel: "Funnel", step: int) -> StepCount:
    before, after = funnel.required_before(step), funnel.required_after(step)
    users = int(done[:, step].sum())
    conversions = users if after is None else int((done[:, step] & done[:, after]).sum())
    ratio = users / len(times) if len(times) else None
    if before is None:
        return StepCount(users, conversions, None, ratio, None, None, None)
    were = int(done[:, before].sum())
    seconds = seconds_between(times, before, step)
    is_optional = funnel.steps[step].is_optional
    return StepCount(
        users,
        conversions,
        None if is_optional else were - len(seconds),
        ratio,
        len(seconds) / were if were else None,
        *mean_and_median(seconds),
    )


def seconds_between(times: NDArray[np.int64], before: int, step: int) -> NDArray[np.float64]:
    """Return the seconds from one step to another of those who did both."""
    both = (times[:, before] != NEVER) & (times[:, step] != NEVER)
    seconds: NDArray[np.float64] = (times[both, step] - times[both, before]) / _SECOND
    return seconds


def mean_and_median(seconds: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return both; None of nothing."""
    if not len(seconds):
        return None, None
    return float(seconds.mean()), float(np.median(seconds))


def completion(times: NDArray[np.int64]) -> Completion:
    """Count those who began and those who finished."""
    seconds = seconds_between(times, 0, times.shape[1] - 1)
    return Completion(len(times), len(seconds), *mean_and_median(seconds))


def histogram(seconds: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Return spans that hold all the seconds: lower and upper end, and how many lie in [lower, upper).

    Beyond 366 days there is nothing: a window is at most that, which belongs to the last span.
    """
    if not len(seconds):
        return []
    counts = np.histogram(seconds, BIN_EDGES_SECONDS)[0].tolist()
    filled = [place for place, count in enumerate(counts) if count]
    return [
        (float(BIN_EDGES_SECONDS[place]), float(BIN_EDGES_SECONDS[place + 1]), counts[place])
        for place in range(filled[0], filled[-1] + 1)
    ]


def bottlenecks(counts: "Sequence[StepCount]") -> tuple[int | None, int | None]:
    """Return the steps with the largest share and with the most people lost, the first of equal ones."""
    losses = [
        (step, count.dropoff, 1 - count.step_ratio)
        for step, count in enumerate(counts)
        if count.dropoff and count.step_ratio is not None
    ]
    if not losses:
        return None, None
    return max(losses, key=lambda loss: loss[2])[0], max(losses, key=lambda loss: loss[1])[0]
