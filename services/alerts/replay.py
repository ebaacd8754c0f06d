"""What a rule would have done over a past. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.alerts.condition import Condition, Moment, NoticeKind, State, Transition, Verdict
from services.alerts.looking import see
from services.alerts.plan import Plan, Seen
from services.alerts.state import counted, transition
from shared.calendar import DAY_MICROS

if TYPE_CHECKING:
    from services.alerts.windows import Point

_JUDGED = {Verdict.BREACH, Verdict.BETWEEN, Verdict.CLEAR}
_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Step:
    """A window of the past and what it would have moved; `verdict` is what it counts as."""

    seen: Seen
    verdict: Verdict
    moved: Transition


@dataclass(frozen=True, slots=True)
class Replay:
    """What would have been: windows, [fired, resolved) of episodes, and how often it fires."""

    steps: Sequence[Step]
    episodes: Sequence[tuple[int, int | None]]

    @property
    def judged(self) -> int:
        """How many windows were judged."""
        return sum(step.verdict in _JUDGED for step in self.steps)

    @property
    def breach_ratio(self) -> float | None:
        """The share of the judged windows that breach; None where none was judged."""
        breaches = sum(step.verdict is Verdict.BREACH for step in self.steps)
        return breaches / self.judged if self.judged else None

    @property
    def episodes_per_month(self) -> float | None:
        """Episodes for 30 days of the judged windows; None where none was judged."""
        micros = sum(step.seen.end - step.seen.start for step in self.steps if step.verdict in _JUDGED)
        return len(self.episodes) / (micros / DAY_MICROS / _MONTH_DAYS) if micros else None


def replay(plan: Plan, points: "Sequence[Point]", start: int) -> Replay:
    """Judge each complete point from `start` on (Unix microseconds), as if it had just closed."""
    state = State()
    steps: list[Step] = []
    episodes: list[tuple[int, int | None]] = []
    # A hold would change what is told, and no episode.
    policy = replace(plan.policy, repeat_micros=None)
    for place, point in enumerate(points):
        if point.start < start or not point.complete:
            continue
        seen, judgement = see(plan, points, place)
        moved = transition(state, judgement.verdict, policy, Moment(seen.end))
        state = moved.state
        steps.append(Step(seen, counted(judgement.verdict, policy), moved))
        if NoticeKind.FIRE in moved.notices:
            episodes.append((seen.end, None))
        if state.condition is Condition.OK and episodes and episodes[-1][1] is None:
            episodes[-1] = (episodes[-1][0], seen.end)
    return Replay(steps, episodes)
