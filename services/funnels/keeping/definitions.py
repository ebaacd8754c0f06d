"""Definitions of funnels: what the wire may say, and what it says to the domain."""

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from brain.funnels.v1 import funnels_pb2 as pb

from services.funnels.domain import Exclusion, Funnel, Pattern, Step
from services.funnels.rules import MAXIMUM_STEPS, OrderMode
from shared import property_filters
from shared.calendar import MICROS
from shared.validation import Violations, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.common.v1.common_pb2 import PropertyFilter

Definition = pb.CreateFunnelRequest | pb.AnalyzeFunnelRequest | pb.Funnel

MINIMUM_STEPS = 2
MAXIMUM_EXCLUSIONS = 64
MAXIMUM_NAME = 200
DEFAULT_WINDOW_MINUTES = 60
MAXIMUM_WINDOW_MINUTES = 366 * 24 * 60
# The events service tells so many sets of filters apart in one reading of an event.
MAXIMUM_FILTER_SETS = 63
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_MODES = {
    pb.ORDER_MODE_UNSPECIFIED: OrderMode.ORDERED,
    pb.ORDER_MODE_ORDERED: OrderMode.ORDERED,
    pb.ORDER_MODE_STRICT: OrderMode.STRICT,
    pb.ORDER_MODE_UNORDERED: OrderMode.UNORDERED,
}
_MODE_NUMBERS = {mode: number for number, mode in _MODES.items()}


def is_id(value: str) -> bool:
    """Return whether a funnel may have this id."""
    return _ID.fullmatch(value) is not None


def check_id(violations: Violations, value: str) -> None:
    """Check the id of a funnel to be made, which may be absent."""
    if value and not is_id(value):
        violations.add("funnel_id", "must be 1 to 100 letters, digits or the characters . _ -")


def check(violations: Violations, definition: pb.CreateFunnelRequest | pb.AnalyzeFunnelRequest) -> None:
    """Check everything but id and name."""
    if not MINIMUM_STEPS <= len(definition.steps) <= MAXIMUM_STEPS:
        violations.add("steps", f"{MINIMUM_STEPS} to {MAXIMUM_STEPS} are required")
    elif sorted(step.order for step in definition.steps) != list(range(len(definition.steps))):
        violations.add("steps", "orders must be 0, 1, 2 … without gaps or repeats")
    for index, step in enumerate(definition.steps[:MAXIMUM_STEPS]):
        _check_step(violations, f"steps[{index}]", step, len(definition.steps))
    if not 1 <= window_minutes(definition) <= MAXIMUM_WINDOW_MINUTES:
        limits = f"must be 1 to {MAXIMUM_WINDOW_MINUTES:,}, or absent for {DEFAULT_WINDOW_MINUTES}"
        violations.add("time_window_minutes", limits)
    if definition.order_mode not in _MODES:
        violations.add("order_mode", f"has no meaning for the value {definition.order_mode}")
    _check_exclusions(violations, definition)
    _check_unordered(violations, definition)
    _check_filter_sets(violations, definition)


def _check_step(violations: Violations, field: str, step: pb.FunnelStep, steps: int) -> None:
    text(violations, f"{field}.name", step.name, maximum=MAXIMUM_NAME, required=False)
    text(violations, f"{field}.event", step.event, maximum=MAXIMUM_NAME)
    property_filters.check(violations, f"{field}.filters", step.filters)
    if step.optional and step.order in {0, steps - 1}:
        violations.add(f"{field}.optional", "the first and the last step cannot be skipped")


def _check_exclusions(
    violations: Violations, definition: pb.CreateFunnelRequest | pb.AnalyzeFunnelRequest
) -> None:
    if len(definition.exclusions) > MAXIMUM_EXCLUSIONS:
        violations.add("exclusions", f"at most {MAXIMUM_EXCLUSIONS}")
    optional = {step.order for step in definition.steps if step.optional}
    for index, exclusion in enumerate(definition.exclusions[:MAXIMUM_EXCLUSIONS]):
        field = f"exclusions[{index}]"
        text(violations, f"{field}.event", exclusion.event, maximum=MAXIMUM_NAME)
        property_filters.check(violations, f"{field}.filters", exclusion.filters)
        for name, step in (("from_step", exclusion.from_step), ("to_step", exclusion.to_step)):
            if not 0 <= step < len(definition.steps):
                violations.add(f"{field}.{name}", "is no step of the funnel")
            elif step in optional:
                violations.add(f"{field}.{name}", "is an optional step")
        if exclusion.from_step >= exclusion.to_step:
            violations.add(f"{field}.to_step", "must be above from_step")


def _check_unordered(
    violations: Violations, definition: pb.CreateFunnelRequest | pb.AnalyzeFunnelRequest
) -> None:
    if definition.order_mode != pb.ORDER_MODE_UNORDERED:
        return
    if definition.exclusions:
        violations.add("exclusions", "an unordered funnel has none")
    for index, step in enumerate(definition.steps):
        if step.optional:
            violations.add(f"steps[{index}].optional", "an unordered funnel has no optional steps")


def _check_filter_sets(
    violations: Violations, definition: pb.CreateFunnelRequest | pb.AnalyzeFunnelRequest
) -> None:
    sets: dict[str, set[Pattern]] = defaultdict(set)
    for step in definition.steps:
        sets[step.event].add(_pattern(step.event, step.filters))
    for exclusion in definition.exclusions:
        sets[exclusion.event].add(_pattern(exclusion.event, exclusion.filters))
    if any(len(patterns) > MAXIMUM_FILTER_SETS for patterns in sets.values()):
        violations.add("steps", f"at most {MAXIMUM_FILTER_SETS} different filters for one event")


def to_funnel(definition: Definition, number: int | None = None) -> Funnel:
    """Return what a checked definition counts."""
    steps = sorted(definition.steps, key=lambda step: step.order)
    return Funnel(
        steps=tuple(
            Step(step.name or step.event, _pattern(step.event, step.filters), step.optional) for step in steps
        ),
        window=window_minutes(definition) * 60 * MICROS,
        mode=_MODES[definition.order_mode],
        exclusions=tuple(
            Exclusion(_pattern(each.event, each.filters), each.from_step, each.to_step)
            for each in definition.exclusions
        ),
        number=number,
    )


def window_minutes(definition: Definition) -> int:
    """Return the window of a definition; of a kept one it is always there."""
    if isinstance(definition, pb.Funnel) or definition.HasField("time_window_minutes"):
        return definition.time_window_minutes
    return DEFAULT_WINDOW_MINUTES


def completed(request: pb.CreateFunnelRequest) -> pb.Funnel:
    """Return a checked definition as it is kept: steps in order, nothing left unsaid."""
    kept = pb.Funnel(
        name=request.name,
        steps=sorted(request.steps, key=lambda step: step.order),
        time_window_minutes=window_minutes(request),
        order_mode=_MODE_NUMBERS[_MODES[request.order_mode]],
        exclusions=request.exclusions,
    )
    for step in kept.steps:
        step.name = step.name or step.event
    return kept


def _pattern(event: str, filters: "Sequence[PropertyFilter]") -> Pattern:
    return Pattern(event, tuple(each.SerializeToString(deterministic=True) for each in filters))
