"""What the tab Funnels is asked for in its address, and the questions that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from gateway.dashboard.page.listing import KINDS
from shared import validation

if TYPE_CHECKING:
    from gateway.dashboard.page.scope import Scope
    from shared.validation import Violations

TOUCHES: Final = {"": "first", "last": "last"}
ENTRIES: Final = {"": "best", "first": "first"}
OUTCOMES: Final = ("reached", "lost")
GROUPS: Final = 10
PEOPLE: Final = 50
EXPORTED_PEOPLE: Final = 10_000
EXPORTED_PAGE: Final = 1_000
EXPORTED_GROUPS: Final = 1_000

_LAST_STEP: Final = 63
_LONGEST_TOKEN: Final = 2_000
_USER_KINDS: Final = {
    "user": events_pb2.USER_KIND_USER,
    "anonymous": events_pb2.USER_KIND_ANONYMOUS,
    "session": events_pb2.USER_KIND_SESSION,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which funnel, broken down how, which of its people, whose journey. Empty texts stand for the usual."""

    funnel: str = ""
    by: str = ""
    touch: str = ""
    entry: str = ""
    # With an outcome: who reached this step or was lost before it.
    outcome: str = ""
    step: int = 0
    page_token: str = ""
    # Of the journey: a kind of listing.KINDS and an id.
    kind: str = ""
    who: str = ""

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address, from the first page of people."""
        given = {
            "funnel": self.funnel,
            "by": self.by,
            "touch": self.touch,
            "entry": self.entry,
            "outcome": self.outcome,
            "step": str(self.step) if self.outcome else "",
            "kind": self.kind if self.who else "",
            "who": self.who,
        }
        return {name: value for name, value in given.items() if value}


def read(violations: "Violations", parameters: Mapping[str, str]) -> Choice:
    """Read the choice of an address."""
    known = (("touch", TOUCHES), ("entry", ENTRIES), ("outcome", OUTCOMES), ("kind", KINDS))
    for name, values in known:
        if parameters.get(name, "") not in {"", *values}:
            violations.add(name, f"must be one of {', '.join(filter(None, values))}, or absent")
    funnel, by, who = (
        validation.text(violations, name, parameters.get(name, "").strip(), maximum=maximum, required=False)
        for name, maximum in (("funnel", 100), ("by", 200), ("who", 200))
    )
    token = validation.text(
        violations, "page", parameters.get("page", ""), maximum=_LONGEST_TOKEN, required=False
    )
    return Choice(
        funnel,
        by,
        parameters.get("touch", ""),
        parameters.get("entry", ""),
        parameters.get("outcome", ""),
        _step(violations, parameters.get("step", "")),
        token,
        parameters.get("kind", "") or "user",
        who,
    )


def _step(violations: "Violations", given: str) -> int:
    if not given:
        return 0
    if (
        given.isascii()
        and given.isdecimal()
        and len(given) <= len(str(_LAST_STEP))
        and int(given) <= _LAST_STEP
    ):
        return int(given)
    violations.add("step", f"must be 0 to {_LAST_STEP}")
    return 0


def results(choice: Choice, shown: "Scope", groups: int = GROUPS) -> pb.GetFunnelResultsRequest:
    """Return the question who reached each step."""
    last = choice.touch == "last"
    touch = results_pb2.ATTRIBUTION_LAST_TOUCH if last else results_pb2.ATTRIBUTION_FIRST_TOUCH
    return pb.GetFunnelResultsRequest(
        funnel_id=choice.funnel,
        time_range=shown.time_range(),
        entry=_entry(choice),
        group_property=choice.by,
        attribution=touch if choice.by else results_pb2.ATTRIBUTION_UNSPECIFIED,
        group_limit=groups if choice.by else 0,
    )


def total(choice: Choice, shown: "Scope") -> pb.GetFunnelConversionRequest:
    """Return the question how many finished."""
    return pb.GetFunnelConversionRequest(
        funnel_id=choice.funnel, time_range=shown.time_range(), entry=_entry(choice)
    )


def dropoff(choice: Choice, shown: "Scope") -> pb.GetDropoffAnalysisRequest:
    """Return the question which segments lose more: of the break-down, else of registered properties."""
    return pb.GetDropoffAnalysisRequest(
        funnel_id=choice.funnel,
        time_range=shown.time_range(),
        entry=_entry(choice),
        properties=[choice.by] if choice.by else [],
    )


def people(choice: Choice, shown: "Scope", page_size: int = PEOPLE) -> pb.ListStepUsersRequest:
    """Return the question for a page of those who reached a step or were lost before it."""
    lost = choice.outcome == "lost"
    return pb.ListStepUsersRequest(
        funnel_id=choice.funnel,
        time_range=shown.time_range(),
        entry=_entry(choice),
        step=choice.step,
        outcome=results_pb2.STEP_OUTCOME_LOST if lost else results_pb2.STEP_OUTCOME_REACHED,
        page_size=page_size,
        page_token=choice.page_token,
    )


def journey(choice: Choice, shown: "Scope") -> pb.GetUserJourneyRequest:
    """Return the question for the attempts of one person."""
    return pb.GetUserJourneyRequest(
        funnel_id=choice.funnel,
        user=events_pb2.UserReference(kind=_USER_KINDS[choice.kind], id=choice.who),
        time_range=shown.time_range(),
        entry=_entry(choice),
    )


def _entry(choice: Choice) -> "results_pb2.FunnelEntry.ValueType":
    return results_pb2.FUNNEL_ENTRY_FIRST if choice.entry == "first" else results_pb2.FUNNEL_ENTRY_BEST
