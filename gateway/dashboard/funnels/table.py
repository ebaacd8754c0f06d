"""Funnels as their tab lists them, and what one is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.funnels.v1 import funnels_pb2 as pb

from gateway.dashboard.page import durations

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDERS: Final = {
    "ordered": "in order",
    "strict": "strictly in order",
    "unordered": "in any order",
}
_ORDERS: Final = {
    pb.ORDER_MODE_ORDERED: "ordered",
    pb.ORDER_MODE_STRICT: "strict",
    pb.ORDER_MODE_UNORDERED: "unordered",
}
_MINUTE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Listed:
    """A funnel in the list, and above its numbers."""

    id: str
    name: str
    steps: str
    # "in order, within 1 h".
    rule: str
    active: bool
    # Events that spoil attempts.
    exclusions: str


def listed(funnel: pb.Funnel) -> Listed:
    """Return a line of the list."""
    unordered = funnel.order_mode == pb.ORDER_MODE_UNORDERED
    order = ORDERS[_ORDERS.get(funnel.order_mode, "ordered")]
    within = durations.spelled(funnel.time_window_minutes * _MINUTE_SECONDS)
    return Listed(
        id=funnel.funnel_id,
        name=funnel.name,
        steps=(", " if unordered else " → ").join(
            f"({each.name})" if each.optional else each.name for each in funnel.steps
        ),
        rule=f"{order}, within {within}",
        active=funnel.active,
        exclusions=", ".join(dict.fromkeys(each.event for each in funnel.exclusions)),
    )


def first(funnels: "Sequence[pb.Funnel]") -> str:
    """Return the id of what is worth a look where nothing was chosen: what is active, else what is there."""
    active = [each.funnel_id for each in funnels if each.active]
    return next(iter([*active, *(each.funnel_id for each in funnels)]), "")
