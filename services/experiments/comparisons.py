"""Between the wire and the statistics: aggregates in, comparisons out."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from brain.experiments.v1 import statistics_pb2 as pb

from services.experiments.domain import CONFIDENCE_LEVELS
from services.experiments.stats.analysis import Analysis, Choices, confidence_reached
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.proportions import Proportion
from services.experiments.stats.values import Interval, Undefined, map_defined

if TYPE_CHECKING:
    from shared.validation import Violations

T = TypeVar("T")

# What squares and quotients of cannot overflow.
SMALLEST, LARGEST = 1e-30, 1e30
LARGEST_N = 10**15


def proportion(violations: "Violations", field: str, message: "pb.Proportion") -> Proportion:
    """Read a share; a harmless one after a violation."""
    if message.participants > LARGEST_N:
        violations.add(field, "has more than 10^15 participants")
    made = _made(violations, field, lambda: Proportion(message.participants, message.converted))
    return made or Proportion(0, 0)


def moments(violations: "Violations", field: str, message: "pb.Moments") -> Moments:
    """Read moments; harmless ones after a violation."""
    return _made(violations, field, lambda: _moments(message)) or Moments(0, 0.0, 0.0)


def joint_moments(violations: "Violations", field: str, message: "pb.JointMoments") -> JointMoments:
    """Read joint moments; harmless ones after a violation."""

    def make() -> JointMoments:
        return JointMoments(_moments(message.x), _moments(message.y), finite_or_raise(message.c))

    nothing = Moments(0, 0.0, 0.0)
    return _made(violations, field, make) or JointMoments(nothing, nothing, 0.0)


def with_covariate(
    violations: "Violations", field: str, value: Moments, covariate: "pb.Covariate"
) -> JointMoments:
    """Read a covariate (x) of a value (y)."""

    def make() -> JointMoments:
        return JointMoments(_moments(covariate.moments), value, finite_or_raise(covariate.c))

    return _made(violations, field, make) or JointMoments(value, value, 0.0)


def choices(violations: "Violations", message: "pb.ComparisonChoices") -> Choices:
    """Read how to compare."""
    level = confidence_level(violations, "choices.confidence_level", message.confidence_level)
    if message.tuned_participants < 0:
        violations.add("choices.tuned_participants", "must be 1 or more, or 0 for 5,000")
    return Choices(level, max(message.tuned_participants, 0) or 5_000, message.decrease_is_better)


def confidence_level(violations: "Violations", field: str, asked: float) -> float:
    """Read a level of confidence; 0.95 for 0, and after a violation."""
    least, most = CONFIDENCE_LEVELS
    if asked == 0:
        return 0.95
    if not least <= asked <= most:
        violations.add(field, f"must be {least} to {most}, or 0 for 0.95")
        return 0.95
    return asked


def share(violations: "Violations", field: str, asked: float, default: float) -> float:
    """Read a number between 0 and 1; the default for 0, and after a violation."""
    if asked == 0:
        return default
    if not 0 < asked < 1:
        violations.add(field, f"must lie between 0 and 1, or be 0 for {default}")
        return default
    return asked


def finite_or_raise(number: float) -> float:
    """Return the number; raise ValueError unless it is finite."""
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _moments(message: "pb.Moments") -> Moments:
    size = abs(message.mean)
    mean_fits = not size or SMALLEST <= size <= LARGEST
    m2_fits = not message.m2 or (SMALLEST**2 <= abs(message.m2) <= LARGEST**2)
    if not (mean_fits and m2_fits and message.n <= LARGEST_N):
        raise ValueError("has a mean beyond 10^±30, an m2 beyond 10^±60 or an n above 10^15")
    return Moments(message.n, message.mean, message.m2)


def _made(violations: "Violations", field: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except ValueError as error:
        violations.add(field, str(error))
        return None


def to_comparison(analysis: Analysis) -> pb.Comparison:
    """Return an analysis as a message, with the reasons of what is absent."""
    compared = analysis.comparison
    message = pb.Comparison(method=compared.method)
    put(message, "absolute_effect", compared.absolute_effect)
    put(message, "relative_effect", compared.relative_effect)
    put(message, "interval", map_defined(compared.interval, to_interval))
    put(message, "relative_interval", map_defined(compared.relative_interval, to_interval))
    put(message, "p_value", compared.p_value)
    put(message, "confidence_reached", map_defined(compared.p_value, confidence_reached))
    put(message, "standard_error", map_defined(compared.estimate, lambda found: found.standard_error))
    sequential = map_defined(
        analysis.sequential,
        lambda found: pb.SequentialComparison(interval=to_interval(found.interval), p_value=found.p_value),
    )
    put(message, "sequential", sequential)
    put(message, "chance_to_win_ratio", map_defined(analysis.belief, lambda found: found.chance_to_win))
    put(message, "expected_loss", map_defined(analysis.belief, lambda found: found.expected_loss))
    return message


def put(message: Any, field: str, value: object) -> None:  # noqa: ANN401 - any message with absent_reasons
    """Set a field, or say why it is absent."""
    if isinstance(value, Undefined):
        message.absent_reasons[field] = value.reason
    elif isinstance(value, float):
        setattr(message, field, value)
    else:
        getattr(message, field).CopyFrom(value)


def to_interval(interval: Interval) -> pb.Interval:
    """Return an interval as a message."""
    return pb.Interval(lower=interval.lower, upper=interval.upper)
