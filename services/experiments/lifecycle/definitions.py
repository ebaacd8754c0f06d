"""Definitions of experiments: what the wire may say, and what it says to the domain."""

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.domain import (
    CONFIDENCE_LEVELS,
    WHOLE,
    Condition,
    EventFeed,
    JsonValue,
    Metric,
    MetricKind,
    Operator,
    Slice,
    Variant,
)
from shared.json_values import to_python
from shared.validation import Violations, text

if TYPE_CHECKING:
    from brain.common.v1.common_pb2 import PropertyFilter
    from google.protobuf.struct_pb2 import Value

MAXIMUM_VARIANTS = 20
MAXIMUM_METRICS = 50
MAXIMUM_CONDITIONS = 20
MAXIMUM_NAME = 100
MAXIMUM_VALUES = 1_000
MAXIMUM_DEPTH = 16
MAXIMUM_PATH = 200
# Two years: past any experiment.
MAXIMUM_WINDOW_SECONDS = 2 * 366 * 86_400
MAXIMUM_SAMPLE = 10**12
MAXIMUM_VALUE_CHARACTERS = 65_536
MAXIMUM_COVARIATE_DAYS = 90
MAXIMUM_ATTRIBUTES = 5
QUANTILES = (0.5, 0.9999)
_KEY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_KINDS = {"string_value", "number_value", "bool_value", "struct_value"}


def key(violations: Violations, field: str, value: str) -> None:
    """Check a key."""
    if not is_key(value):
        violations.add(field, "must be 1 to 100 letters, digits or the characters . _ -")


def is_key(value: str) -> bool:
    """Return whether an experiment may have this key."""
    return _KEY.fullmatch(value) is not None


def check(violations: Violations, field: str, definition: pb.ExperimentDefinition) -> None:
    """Add everything that is wrong with a definition."""
    text(violations, f"{field}.name", definition.name, maximum=200)
    text(violations, f"{field}.hypothesis", definition.hypothesis, maximum=2_000, required=False)
    _check_variants(violations, f"{field}.variants", definition.variants)
    check_metrics(violations, f"{field}.metrics", definition.metrics)
    if definition.HasField("coverage_percent"):
        hundredths(violations, f"{field}.coverage_percent", definition.coverage_percent)
    targeting(violations, f"{field}.targeting", definition.targeting)
    _check_slice(violations, f"{field}.namespace_slice", definition)
    _check_limits(violations, field, definition)
    _check_attributes(violations, f"{field}.break_down_attributes", definition.break_down_attributes)


def hundredths(violations: Violations, field: str, percent: float) -> int:
    """Return hundredths of a percent; 0 after a violation."""
    scaled = percent * 100
    if not 0 <= percent <= 100 or abs(scaled - round(scaled)) > 1e-6:  # noqa: PLR2004 - percent
        violations.add(field, "must be 0 to 100 in steps of 0.01")
        return 0
    return round(scaled)


def check_shares(violations: Violations, field: str, percents: Sequence[float]) -> list[int]:
    """Return the shares of all variants in hundredths of a percent."""
    before = len(violations)
    shares = [
        hundredths(violations, f"{field}[{index}].allocation_percent", percent)
        for index, percent in enumerate(percents)
    ]
    if len(violations) == before and sum(shares) != WHOLE:
        violations.add(field, f"allocations must add up to 100, add up to {sum(shares) / 100:g}")
    return shares


def check_metrics(violations: Violations, field: str, metrics: Sequence[pb.Metric]) -> None:
    """Add everything that is wrong with metrics."""
    if not 1 <= len(metrics) <= MAXIMUM_METRICS:
        violations.add(field, f"1 to {MAXIMUM_METRICS} are required")
    _check_names(violations, field, [metric.name for metric in metrics])
    for index, metric in enumerate(metrics):
        if metric.kind not in {kind.value for kind in MetricKind}:
            violations.add(f"{field}[{index}].kind", "must be CONVERSION, VALUE or RATIO")
        if metric.HasField("minimum_relative_effect") and not 0 < metric.minimum_relative_effect < math.inf:
            violations.add(f"{field}[{index}].minimum_relative_effect", "must be finite and above 0")
        _check_shape(violations, f"{field}[{index}]", metric)
        if metric.HasField("feed"):
            text(violations, f"{field}[{index}].feed.event", metric.feed.event, maximum=MAXIMUM_PATH)
            targeting(violations, f"{field}[{index}].feed.filters", metric.feed.filters)
    if metrics and all(metric.guardrail for metric in metrics):
        violations.add(field, "at least one must be no guardrail")


def _check_shape(violations: Violations, field: str, metric: pb.Metric) -> None:
    if metric.HasField("winsorized_quantile"):
        least, most = QUANTILES
        if not least <= metric.winsorized_quantile <= most:
            violations.add(f"{field}.winsorized_quantile", f"must be {least} to {most}")
        elif metric.kind != pb.METRIC_KIND_VALUE:
            violations.add(f"{field}.winsorized_quantile", "is for metrics of kind VALUE")
    if metric.HasField("covariate_days"):
        if not 1 <= metric.covariate_days <= MAXIMUM_COVARIATE_DAYS:
            violations.add(f"{field}.covariate_days", f"must be 1 to {MAXIMUM_COVARIATE_DAYS}")
        elif not metric.HasField("feed") or metric.kind == pb.METRIC_KIND_RATIO:
            violations.add(f"{field}.covariate_days", "is for shares and values that events feed")


def _check_names(violations: Violations, field: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        text(violations, f"{field}[{index}].name", name, maximum=MAXIMUM_NAME)
        if name in names[:index]:
            violations.add(f"{field}[{index}].name", "is there twice")


def _check_variants(violations: Violations, field: str, variants: Sequence[pb.Variant]) -> None:
    if not 2 <= len(variants) <= MAXIMUM_VARIANTS:  # noqa: PLR2004 - one alone is no experiment
        violations.add(field, f"2 to {MAXIMUM_VARIANTS} are required")
        return
    _check_names(violations, field, [variant.name for variant in variants])
    check_shares(violations, field, [variant.allocation_percent for variant in variants])
    kinds = {variant.value.WhichOneof("kind") for variant in variants}
    if len(kinds) > 1 or not kinds <= _KINDS | {None}:
        violations.add(field, "values must all be strings, booleans, numbers or objects, or all be absent")
    for index, variant in enumerate(variants):
        _value(violations, f"{field}[{index}].value", variant.value)


def _value(violations: Violations, field: str, value: "Value") -> JsonValue:
    if value.WhichOneof("kind") is None:
        return None
    try:
        found = to_python(value, MAXIMUM_DEPTH)
    except ValueError as error:
        violations.add(field, str(error))
        return None
    # PostgreSQL keeps no NUL, and every call of an SDK brings a value.
    written = json.dumps(found)
    if len(written) > MAXIMUM_VALUE_CHARACTERS or "\\u0000" in written:
        violations.add(field, f"must be at most {MAXIMUM_VALUE_CHARACTERS:,} characters of JSON without NUL")
    return found


def _check_slice(violations: Violations, field: str, definition: pb.ExperimentDefinition) -> None:
    if not definition.HasField("namespace_slice"):
        return
    part = definition.namespace_slice
    text(violations, f"{field}.namespace", part.namespace, maximum=MAXIMUM_NAME)
    start = hundredths(violations, f"{field}.start_percent", part.start_percent)
    end = hundredths(violations, f"{field}.end_percent", part.end_percent)
    if start >= end:
        violations.add(f"{field}.end_percent", "must be above start_percent")


def _check_attributes(violations: Violations, field: str, names: Sequence[str]) -> None:
    if len(names) > MAXIMUM_ATTRIBUTES:
        violations.add(field, f"at most {MAXIMUM_ATTRIBUTES}")
    for index, name in enumerate(names):
        text(violations, f"{field}[{index}]", name, maximum=MAXIMUM_NAME)
        if name in names[:index]:
            violations.add(f"{field}[{index}]", "is there twice")


def _check_limits(violations: Violations, field: str, definition: pb.ExperimentDefinition) -> None:
    window, planned = definition.conversion_window_seconds, definition.planned_sample
    if definition.HasField("conversion_window_seconds") and not 1 <= window <= MAXIMUM_WINDOW_SECONDS:
        violations.add(f"{field}.conversion_window_seconds", f"must be 1 to {MAXIMUM_WINDOW_SECONDS:,}")
    if definition.HasField("planned_sample") and not 1 <= planned <= MAXIMUM_SAMPLE:
        violations.add(f"{field}.planned_sample", f"must be 1 to {MAXIMUM_SAMPLE:,}")
    least, most = CONFIDENCE_LEVELS
    if definition.confidence_level and not least <= definition.confidence_level <= most:
        violations.add(f"{field}.confidence_level", f"must be {least} to {most}, or 0 for 0.95")


def targeting(
    violations: Violations, field: str, filters: "Sequence[PropertyFilter]"
) -> tuple[Condition, ...]:
    """Return the conditions of filters."""
    if len(filters) > MAXIMUM_CONDITIONS:
        violations.add(field, f"at most {MAXIMUM_CONDITIONS}")
        return ()
    return tuple(_condition(violations, f"{field}[{index}]", each) for index, each in enumerate(filters))


def _condition(violations: Violations, field: str, message: "PropertyFilter") -> Condition:
    text(violations, f"{field}.property", message.property, maximum=MAXIMUM_PATH)
    path = tuple(message.property.split("."))
    if message.property and not all(path):
        violations.add(f"{field}.property", "has an empty step")
    known = {each.value: each for each in Operator}
    if message.operator not in known:
        violations.add(f"{field}.operator", "is required")
    operator = known.get(message.operator, Operator.EXISTS)
    values = tuple(
        _value(violations, f"{field}.values[{index}]", value) for index, value in enumerate(message.values)
    )
    if operator is Operator.EXISTS:
        fits, expected = not values, "none"
    elif operator is Operator.IN:
        fits, expected = 0 < len(values) <= MAXIMUM_VALUES, f"1 to {MAXIMUM_VALUES:,}"
    else:
        fits, expected = len(values) == 1, "exactly one"
    if not fits:
        violations.add(f"{field}.values", f"must hold {expected} for this operator")
    elif operator in {Operator.GREATER, Operator.LESS} and not _is_number(values[0]):
        violations.add(f"{field}.values[0]", "must be a number")
    return Condition(path, operator, values)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_variants(definition: pb.ExperimentDefinition, shares: Sequence[int]) -> tuple[Variant, ...]:
    """Return the variants of a checked definition."""
    ignored = Violations()
    return tuple(
        Variant(each.name, _value(ignored, "", each.value) if each.HasField("value") else each.name, share)
        for each, share in zip(definition.variants, shares, strict=True)
    )


def to_metrics(definition: pb.ExperimentDefinition) -> tuple[Metric, ...]:
    """Return the metrics of a checked definition."""
    return tuple(
        Metric(
            name=each.name,
            kind=MetricKind(each.kind),
            decrease_is_better=each.decrease_is_better,
            guardrail=each.guardrail,
            allow_negative=each.allow_negative,
            minimum_relative_effect=each.minimum_relative_effect
            if each.HasField("minimum_relative_effect")
            else None,
            feed=_to_feed(each),
            winsorized_quantile=each.winsorized_quantile if each.HasField("winsorized_quantile") else None,
            covariate_days=each.covariate_days if each.HasField("covariate_days") else None,
        )
        for each in definition.metrics
    )


def _to_feed(metric: pb.Metric) -> EventFeed | None:
    if not metric.HasField("feed"):
        return None
    filters = tuple(each.SerializeToString(deterministic=True) for each in metric.feed.filters)
    return EventFeed(metric.feed.event, filters)


def to_slice(definition: pb.ExperimentDefinition) -> Slice | None:
    """Return the slice of a checked definition."""
    if not definition.HasField("namespace_slice"):
        return None
    part = definition.namespace_slice
    return Slice(part.namespace, round(part.start_percent * 100), round(part.end_percent * 100))
