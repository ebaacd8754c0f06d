"""Whether a window breaches a rule, and why. Pure."""

import math
from dataclasses import dataclass
from enum import IntEnum

from services.alerts.condition import Verdict

# Floating-point noise of sums and ratios, relative.
_NOISE = 1e-9


class ConditionKind(IntEnum):
    """How a value is compared."""

    GREATER_THAN = 1
    LESS_THAN = 2
    EQUAL_TO = 3
    CHANGE_RATIO = 4
    OUTSIDE_FORECAST = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """When a window breaches.

    CHANGE_RATIO compares (value − baseline) ÷ |baseline| with the threshold, whose sign says which way:
    −0.3 is breached by falls of more than 30 %, 0.5 by rises of more than 50 %. OUTSIDE_FORECAST is given
    deviations from what was expected, and breached either way.
    """

    kind: ConditionKind
    threshold: float
    # Where a breach is over; None: where it began. Not for EQUAL_TO.
    recovery_threshold: float | None = None
    # Absolute, for EQUAL_TO.
    tolerance: float = 0.0
    # Fewer observations than this are not judged.
    minimum_sample: int = 0
    # How many windows before the judged one the baseline of CHANGE_RATIO is.
    baseline_offset: int = 1

    @property
    def needs_baseline(self) -> bool:
        """Whether an earlier window is needed too."""
        return self.kind is ConditionKind.CHANGE_RATIO


@dataclass(frozen=True, slots=True)
class Observation:
    """A window's value, None where the metric has none, and how many observations it rests on."""

    value: float | None
    sample: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the number that was compared with the threshold; None where there was none."""

    verdict: Verdict
    compared: float | None


def judge(rule: Rule, window: Observation, baseline: Observation | None) -> Judgement:
    """Judge a closed window; `baseline` is needed by CHANGE_RATIO alone."""
    compared = _compared(rule, window, baseline)
    if compared is None:
        return Judgement(Verdict.NO_DATA, None)
    judged = [window, baseline] if rule.needs_baseline and baseline else [window]
    if any(each.sample < rule.minimum_sample for each in judged):
        return Judgement(Verdict.TOO_FEW, compared)
    if _breaches(rule, compared, rule.threshold):
        return Judgement(Verdict.BREACH, compared)
    recovery = rule.threshold if rule.recovery_threshold is None else rule.recovery_threshold
    return Judgement(Verdict.BETWEEN if _breaches(rule, compared, recovery) else Verdict.CLEAR, compared)


def change_ratio(value: float, baseline: float) -> float:
    """Return (value − baseline) ÷ |baseline|: ±∞ from 0 to something, 0 from 0 to 0."""
    if baseline:
        return (value - baseline) / abs(baseline)
    return math.copysign(math.inf, value) if value else 0.0


def are_equal(left: float, right: float, tolerance: float) -> bool:
    """Return whether two numbers differ by no more than the tolerance, or by floating-point noise."""
    if math.isinf(left) or math.isinf(right):
        return left == right
    return abs(left - right) <= max(tolerance, _NOISE * max(abs(left), abs(right)))


def _compared(rule: Rule, window: Observation, baseline: Observation | None) -> float | None:
    value = _defined(window)
    if value is None or not rule.needs_baseline:
        return value
    before = _defined(baseline)
    if before is None or math.isinf(before):
        return None
    return change_ratio(value, before)


def _defined(observation: Observation | None) -> float | None:
    if observation is None or observation.value is None or math.isnan(observation.value):
        return None
    return observation.value


def _breaches(rule: Rule, compared: float, threshold: float) -> bool:
    match rule.kind:
        case ConditionKind.GREATER_THAN:
            return compared > threshold
        case ConditionKind.LESS_THAN:
            return compared < threshold
        case ConditionKind.EQUAL_TO:
            return are_equal(compared, threshold, rule.tolerance)
        case ConditionKind.CHANGE_RATIO:
            return compared > threshold if rule.threshold > 0 else compared < threshold
        case ConditionKind.OUTSIDE_FORECAST:
            return abs(compared) > threshold
