"""The form that makes a funnel: what it holds, and the request it becomes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.funnels.v1 import funnels_pb2 as pb

from gateway.dashboard.funnels import conditions
from gateway.dashboard.page import goals

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import TopEvent

# More steps are for `brain funnels create`.
STEPS: Final = 8
EXCLUSIONS: Final = 2
WINDOWS: Final = goals.WINDOWS
_ORDERS: Final = {
    "ordered": pb.ORDER_MODE_ORDERED,
    "strict": pb.ORDER_MODE_STRICT,
    "unordered": pb.ORDER_MODE_UNORDERED,
}
_LONGEST_ID: Final = 100
_LONGEST_NAME: Final = 200
# Of an address; longer texts are refused by the service all the same.
_LONGEST_TEXT: Final = 250
_is_no_id = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Step:
    """An event, and the conditions its properties must meet, as they were typed."""

    event: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Without:
    """An event that spoils an attempt between two steps, counted from 1."""

    event: str = ""
    after: int = 1
    before: int = 2


@dataclass(frozen=True, slots=True)
class Form:
    """What the form holds: as it was sent before, or what the data suggest."""

    name: str = ""
    steps: tuple[Step, ...] = ()
    minutes: int = goals.DEFAULT_MINUTES
    order: str = "ordered"
    without: tuple[Without, ...] = ()

    @property
    def fields(self) -> tuple[Step, ...]:
        """The fields of each step, empty where nothing is chosen."""
        return (*self.steps, *[Step()] * (STEPS - len(self.steps)))

    @property
    def without_fields(self) -> tuple[Without, ...]:
        """The fields of each exclusion."""
        return (*self.without, *[Without()] * (EXCLUSIONS - len(self.without)))

    def parameters(self) -> dict[str, str]:
        """Return what fills the form in again, in an address."""
        given = {"new_name": self.name, "new_minutes": str(self.minutes), "new_order": self.order}
        for place, step in enumerate(self.steps):
            given |= {f"new_{place}": step.event, f"new_{place}_where": step.where}
        for place, each in enumerate(self.without):
            names = f"new_without_{place}", f"new_after_{place}", f"new_before_{place}"
            given |= dict(zip(names, (each.event, str(each.after), str(each.before)), strict=True))
        return {name: value for name, value in given.items() if value}


def read(fields: Mapping[str, str]) -> Form:
    """Read the form as it was sent, or as an address keeps it. Steps left empty are left out."""
    steps = (
        Step(_text(fields, f"new_{place}"), _text(fields, f"new_{place}_where")) for place in range(STEPS)
    )
    without = (
        Without(
            _text(fields, f"new_without_{place}"),
            _place(fields, f"new_after_{place}", 1),
            _place(fields, f"new_before_{place}", 2),
        )
        for place in range(EXCLUSIONS)
    )
    known = {str(each): each for each in WINDOWS}
    order = fields.get("new_order", "")
    return Form(
        _text(fields, "new_name"),
        tuple(each for each in steps if each.event),
        known.get(fields.get("new_minutes", ""), goals.DEFAULT_MINUTES),
        order if order in _ORDERS else "ordered",
        tuple(each for each in without if each.event),
    )


def _text(fields: Mapping[str, str], name: str) -> str:
    return fields.get(name, "").strip()[:_LONGEST_TEXT]


def _place(fields: Mapping[str, str], name: str, usual: int) -> int:
    known = {str(place): place for place in range(1, STEPS + 1)}
    return known.get(fields.get(name, ""), usual)


def suggested(events: "Sequence[TopEvent]") -> Form:
    """Return a form with the two events that the data suggest; an empty one where there are too few."""
    goal = goals.chosen(goals.NO_GOAL, events)
    if goal is None:
        return Form()
    return Form(f"{goal.start} → {goal.end}", (Step(goal.start), Step(goal.end)), goal.minutes)


def request(form: Form) -> pb.CreateFunnelRequest:
    """Return the request that makes the funnel. Its id comes of its name, so that sending twice makes one."""
    return pb.CreateFunnelRequest(
        funnel_id=funnel_id(form.name),
        name=form.name,
        steps=[
            pb.FunnelStep(
                # Told wherever the step is: without it two steps of one event could not be told apart.
                name=f"{step.event}: {step.where}"[:_LONGEST_NAME] if step.where else "",
                event=step.event,
                order=order,
                filters=conditions.filters(step.where),
            )
            for order, step in enumerate(form.steps)
        ],
        time_window_minutes=form.minutes,
        order_mode=_ORDERS[form.order],
        exclusions=[
            pb.Exclusion(event=each.event, from_step=each.after - 1, to_step=each.before - 1)
            for each in form.without
        ],
    )


def funnel_id(name: str) -> str:
    """Return an id that reads like a name; empty, so that the service makes one, where nothing is left."""
    return _is_no_id.sub("-", name.lower()).strip("-.")[:_LONGEST_ID]
