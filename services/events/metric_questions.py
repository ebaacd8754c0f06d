"""What calls about any metric ask: which one, with which labels, under which conditions."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from services.events import messages
from services.events.reading.metrics import Metric
from shared.errors import NotFound
from shared.validation import Violations, text

if TYPE_CHECKING:
    from brain.common.v1.common_pb2 import PropertyFilter

    from services.events.domain import Condition

SHOWN_CHARACTERS = 100


def known(metrics: Mapping[str, Metric], name: str) -> Metric:
    """Return the metric of this name; raise NotFound that names the nearest."""
    if name not in metrics:
        shown = name[:SHOWN_CHARACTERS]  # a longer message would be cut before it says what there is
        nearest = ", ".join(get_close_matches(shown, metrics, 3, 0.5) or sorted(metrics))
        raise NotFound(f"there is no metric {shown!r} here; there is {nearest}", "METRIC_UNKNOWN")
    return metrics[name]


def labels(violations: Violations, metric: Metric, given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels a metric needs; the caller raises."""
    for label in given:
        if label not in metric.required_labels:
            violations.add(f"labels[{label}]", f"is not a label of {metric.name}")
    needed = {
        label: text(violations, f"labels[{label}]", given.get(label, ""), maximum=200)
        for label in metric.required_labels
    }
    for label, (least, greatest) in metric.number_labels.items():
        if needed[label] and not _is_within(needed[label], least, greatest):
            violations.add(f"labels[{label}]", f"must be a whole number from {least:,} to {greatest:,}")
    return needed


def _is_within(digits: str, least: int, greatest: int) -> bool:
    is_number = digits.isascii() and digits.isdecimal()
    return is_number and least <= int(digits) <= greatest


def filters(
    violations: Violations, metric: Metric, given: "Sequence[PropertyFilter]"
) -> "tuple[Condition, ...]":
    """Return the conditions a metric is read with; the caller raises."""
    if given and not metric.takes_filters:
        violations.add("filters", f"{metric.name} takes none")
    return messages.conditions(violations, "filters", given)
