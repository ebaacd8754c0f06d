"""Everything that is said of one treatment against the control, for one metric."""

from dataclasses import dataclass, replace

from services.experiments.stats.bayesian import Belief, belief_of_estimate, belief_of_proportions
from services.experiments.stats.cuped import adjusted
from services.experiments.stats.means import WELCH, compare_means
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.proportions import Proportion, compare_proportions
from services.experiments.stats.ratios import compare_ratios
from services.experiments.stats.sequential import Sequential, always_valid, mixture_scale
from services.experiments.stats.values import Comparison, Undefined, map_defined

CONFIDENCE_STEPS = (0.99, 0.95, 0.9, 0.8)
# Asymptotic sequences hold once averages are nearly normal. With fewer, early looks would not be safe.
MINIMUM_CONVERTED = 5
MINIMUM_PARTICIPANTS = 30
_TOO_FEW_CONVERTED = f"fewer than {MINIMUM_CONVERTED} participants of a variant converted, or did not"


@dataclass(frozen=True, slots=True)
class Choices:
    """How to compare: the level of intervals, the participants of a pair of variants at which the sequential
    interval is narrowest, and which direction is good.
    """  # noqa: D205 - one sentence

    confidence_level: float = 0.95
    tuned_participants: int = 5_000
    decrease_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Analysis:
    """One comparison by all methods."""

    comparison: Comparison
    sequential: Sequential | Undefined
    belief: Belief | Undefined


def analyse_proportions(control: Proportion, treatment: Proportion, choices: Choices) -> Analysis:
    """Compare shares of participants who converted."""
    comparison = compare_proportions(control, treatment, choices.confidence_level)
    nobody = min(control.participants, treatment.participants) == 0
    pair = (treatment, control) if choices.decrease_is_better else (control, treatment)
    return Analysis(
        comparison,
        sequential=_sequential(comparison, choices)
        if _fewest_converted(control, treatment) >= MINIMUM_CONVERTED
        else Undefined(_TOO_FEW_CONVERTED),
        belief=Undefined("a variant has no participants") if nobody else belief_of_proportions(*pair),
    )


def analyse_means(control: Moments, treatment: Moments, choices: Choices) -> Analysis:
    """Compare means per participant."""
    comparison = compare_means(control, treatment, choices.confidence_level)
    return _of_estimate(comparison, min(control.n, treatment.n), choices)


def analyse_with_covariate(control: JointMoments, treatment: JointMoments, choices: Choices) -> Analysis:
    """Compare means per participant (y) less what was known before (x) explains: CUPED."""
    before, after = adjusted([control, treatment])
    analysis = analyse_means(before, after, choices)
    return replace(analysis, comparison=replace(analysis.comparison, method=f"{WELCH} after CUPED"))


def with_enough_converted(analysis: Analysis, control: Proportion, treatment: Proportion) -> Analysis:
    """Return an analysis of shares as means, without early looks at few conversions."""
    if _fewest_converted(control, treatment) >= MINIMUM_CONVERTED:
        return analysis
    return replace(analysis, sequential=Undefined(_TOO_FEW_CONVERTED))


def analyse_ratios(control: JointMoments, treatment: JointMoments, choices: Choices) -> Analysis:
    """Compare ratios of two sums per participant."""
    comparison = compare_ratios(control, treatment, choices.confidence_level)
    return _of_estimate(comparison, min(control.n, treatment.n), choices)


def confidence_reached(p_value: float) -> float | Undefined:
    """Return the highest of the usual levels at which there is a difference."""
    for level in CONFIDENCE_STEPS:
        if p_value <= 1 - level + 1e-12:  # 1 - 0.9 is a hair below 0.1
            return level
    return Undefined(f"the p-value is above {1 - CONFIDENCE_STEPS[-1]:.1f}")


def _fewest_converted(control: Proportion, treatment: Proportion) -> int:
    return min(min(each.converted, each.participants - each.converted) for each in (control, treatment))


def _of_estimate(comparison: Comparison, fewest: int, choices: Choices) -> Analysis:
    sequential: Sequential | Undefined = Undefined(f"a variant has fewer than {MINIMUM_PARTICIPANTS} people")
    if fewest >= MINIMUM_PARTICIPANTS:
        sequential = _sequential(comparison, choices)
    belief = map_defined(comparison.estimate, belief_of_estimate)
    if choices.decrease_is_better:
        belief = map_defined(belief, lambda found: _of_decrease(found, comparison))
    return Analysis(comparison, sequential, belief)


def _of_decrease(belief: Belief, comparison: Comparison) -> Belief:
    effect = comparison.absolute_effect
    assert not isinstance(effect, Undefined), "there is an estimate, so there is an effect"
    # E[max(−D, 0)] = E[max(D, 0)] − E[D]
    return Belief(1 - belief.chance_to_win, max(0.0, belief.expected_loss + effect))


def _sequential(comparison: Comparison, choices: Choices) -> Sequential | Undefined:
    rho = mixture_scale(choices.tuned_participants, choices.confidence_level)
    return map_defined(
        comparison.estimate, lambda estimate: always_valid(estimate, rho, choices.confidence_level)
    )
