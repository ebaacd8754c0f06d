"""The conversion that the fourth card shows: from which event, to which, within how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared import validation

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import TopEvent

    from shared.validation import Violations

# Minutes somebody may take, as they are called.
WINDOWS: Final = {60: "1 hour", 1_440: "1 day", 10_080: "7 days", 43_200: "30 days"}
DEFAULT_MINUTES: Final = 1_440


@dataclass(frozen=True, slots=True)
class Goal:
    """Two events, empty where the data shall choose, and the time between them. It lives in every address."""

    start: str = ""
    end: str = ""
    minutes: int = DEFAULT_MINUTES

    def parameters(self) -> dict[str, str]:
        """Return what makes the same goal again, in an address."""
        minutes = "" if self.minutes == DEFAULT_MINUTES else str(self.minutes)
        given = {"goal_start": self.start, "goal_end": self.end, "goal_minutes": minutes}
        return {name: value for name, value in given.items() if value}


NO_GOAL: Final = Goal()


def read(violations: "Violations", parameters: Mapping[str, str]) -> Goal:
    """Read the goal of an address."""
    start, end = (
        validation.text(violations, name, parameters.get(name, ""), maximum=200, required=False)
        for name in ("goal_start", "goal_end")
    )
    minutes = parameters.get("goal_minutes") or str(DEFAULT_MINUTES)
    if minutes not in {str(known) for known in WINDOWS}:
        violations.add("goal_minutes", f"must be one of {', '.join(map(str, WINDOWS))}")
        return Goal(start, end)
    return Goal(start, end, int(minutes))


def chosen(asked: Goal, events: "Sequence[TopEvent]") -> Goal | None:
    """Return the goal with what the data choose for what was left open; None where there are too few events.

    It ends in the event with the highest sum of values where more people did another one; where not, it leads
    from the event that most people did to the one that second most did.
    """
    most_people = sorted(events, key=lambda one: (-one.users, one.event))
    others = [one for one in most_people if one.event not in (asked.start, asked.end)]
    earning = max(others, key=lambda one: one.value_sum, default=None)
    end = asked.end
    if not end and earning is not None and earning.value_sum > 0 and earning is not most_people[0]:
        end = earning.event
    names = [one.event for one in others if one.event != end]
    start = asked.start or (names.pop(0) if names else "")
    end = end or (names.pop(0) if names else "")
    return Goal(start, end, asked.minutes) if start and end else None
