"""The form that makes a funnel: what it holds, and the request it becomes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.funnels.v1 import funnels_pb2 as pb

from gateway.dashboard.page import goals

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import TopEvent

# More steps are for `brain funnels create`.
STEPS: Final = 8
WINDOWS: Final = goals.WINDOWS
_ORDERS: Final = {
    "ordered": pb.ORDER_MODE_ORDERED,
    "strict": pb.ORDER_MODE_STRICT,
    "unordered": pb.ORDER_MODE_UNORDERED,
}
_LONGEST_ID: Final = 100
# Of an address; longer texts are refused by the service all the same.
_LONGEST_TEXT: Final = 250
_is_no_id = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Form:
    """What the form holds: as it was sent before, or what the data suggest."""

    name: str = ""
    events: tuple[str, ...] = ()
    minutes: int = goals.DEFAULT_MINUTES
    order: str = "ordered"

    @property
    def fields(self) -> tuple[str, ...]:
        """The event of each step's field, empty where nothing is chosen."""
        return (*self.events, *[""] * (STEPS - len(self.events)))

    def parameters(self) -> dict[str, str]:
        """Return what fills the form in again, in an address."""
        steps = {f"new_{place}": event for place, event in enumerate(self.events)}
        return {"new_name": self.name, "new_minutes": str(self.minutes), "new_order": self.order, **steps}


def read(fields: Mapping[str, str]) -> Form:
    """Read the form as it was sent, or as an address keeps it. Steps left empty are left out."""
    steps = (fields.get(f"new_{place}", "").strip()[:_LONGEST_TEXT] for place in range(STEPS))
    minutes = fields.get("new_minutes", "")
    known = {str(each): each for each in WINDOWS}
    order = fields.get("new_order", "")
    return Form(
        fields.get("new_name", "").strip()[:_LONGEST_TEXT],
        tuple(filter(None, steps)),
        known.get(minutes, goals.DEFAULT_MINUTES),
        order if order in _ORDERS else "ordered",
    )


def suggested(events: "Sequence[TopEvent]") -> Form:
    """Return a form with the two events that the data suggest; an empty one where there are too few."""
    goal = goals.chosen(goals.NO_GOAL, events)
    if goal is None:
        return Form()
    return Form(f"{goal.start} → {goal.end}", (goal.start, goal.end), goal.minutes)


def request(form: Form) -> pb.CreateFunnelRequest:
    """Return the request that makes the funnel. Its id comes of its name, so that sending twice makes one."""
    return pb.CreateFunnelRequest(
        funnel_id=funnel_id(form.name),
        name=form.name,
        steps=[pb.FunnelStep(event=event, order=order) for order, event in enumerate(form.events)],
        time_window_minutes=form.minutes,
        order_mode=_ORDERS[form.order],
    )


def funnel_id(name: str) -> str:
    """Return an id that reads like a name; empty, so that the service makes one, where nothing is left."""
    return _is_no_id.sub("-", name.lower()).strip("-.")[:_LONGEST_ID]
