"""What calls about any metric ask: which one, with which labels, under which conditions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from services.events import messages
from services.events.reading.metrics import Metric
from shared.metric_source import check_known, labels_of

if TYPE_CHECKING:
    from brain.common.v1.common_pb2 import PropertyFilter

    from services.events.domain import Condition
    from shared.validation import Violations


def known(metrics: Mapping[str, Metric], name: str) -> Metric:
    """Return the metric of this name; raise NotFound that names the nearest."""
    check_known(name, metrics)
    return metrics[name]


def labels(violations: "Violations", metric: Metric, given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels a metric needs; the caller raises."""
    needed = labels_of(violations, metric.name, metric.required_labels, given)
    for label, (least, greatest) in metric.number_labels.items():
        if needed[label] and not _is_within(needed[label], least, greatest):
            violations.add(f"labels[{label}]", f"must be a whole number from {least:,} to {greatest:,}")
    return needed


def _is_within(digits: str, least: int, greatest: int) -> bool:
    is_number = digits.isascii() and digits.isdecimal()
    return is_number and least <= int(digits) <= greatest


def filters(
    violations: "Violations", metric: Metric, given: "Sequence[PropertyFilter]"
) -> "tuple[Condition, ...]":
    """Return the conditions a metric is read with; the caller raises."""
    if given and not metric.takes_filters:
        violations.add("filters", f"{metric.name} takes none")
    return messages.conditions(violations, "filters", given)
