"""Exact totals of an experiment: whole numbers from which all statistics follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.experiments.domain import VALUE_SCALE
from services.experiments.stats.moments import JointMoments, Moments


@dataclass(frozen=True, slots=True)
class Sums:
    """Over those of a variant who converted: people, and sums over people of conversions, of their square, of
    the total value (millionths), of its square, and of total × conversions.
    """  # noqa: D205 - one sentence

    converted: int = 0
    conversions: int = 0
    squared_conversions: int = 0
    total: int = 0
    squared_total: int = 0
    product: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.converted + other.converted,
            self.conversions + other.conversions,
            self.squared_conversions + other.squared_conversions,
            self.total + other.total,
            self.squared_total + other.squared_total,
            self.product + other.product,
        )

    def moments(self, participants: int) -> JointMoments:
        """Return value (x) and conversions (y) per participant, zeros of the others included."""
        if participants == 0:
            nothing = Moments(0, 0.0, 0.0)
            return JointMoments(nothing, nothing, 0.0)
        return JointMoments(
            Moments.of_sums(participants, self.total, self.squared_total, VALUE_SCALE),
            Moments.of_sums(participants, self.conversions, self.squared_conversions, 1),
            (participants * self.product - self.total * self.conversions) / (participants * VALUE_SCALE),
        )


@dataclass(frozen=True, slots=True)
class Shaped:
    """Moments of a metric by variant: of what was before (x) with the value (y), and of the value (x) with
    conversions (y); `cut` is where values were cut.
    """  # noqa: D205 - one sentence

    cut: float | None
    with_before: tuple[JointMoments, ...]
    moments: tuple[JointMoments, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Participants by allocation and variant, shares of each allocation, people left out, sums of metrics."""

    split: Mapping[int, Sequence[int]]
    shares: Mapping[int, Sequence[int]]
    conflicting: int
    overridden: int
    sums: Mapping[tuple[str, int], Sums]
    # Of metrics for which sums do not suffice, by name.
    shaped: Mapping[str, Shaped] = field(default_factory=dict)

    def participants(self, variant: int) -> int:
        """Return the participants of a variant."""
        return sum(counts[variant] for counts in self.split.values())

    def expected(self, variants: int) -> list[float]:
        """Return how many participants each variant was to have, given when they came."""
        expected = [0.0] * variants
        for allocation, counts in self.split.items():
            shares = self.shares[allocation]
            for variant in range(variants):
                expected[variant] += sum(counts) * shares[variant] / sum(shares)
        return expected
