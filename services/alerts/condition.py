"""The words for what an alert is in: its state, the verdicts that move it, the notices that come of it.

Two axes. The condition (OK, PENDING, FIRING, RECOVERING) is moved by windows that were judged, and by
nothing else; health (OK, NO_DATA, ERROR) tells whether windows can be judged. An episode begins when an alert
fires and ends when it is OK again: receivers are told of an episode, not of windows.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Condition(IntEnum):
    """What the judged windows add up to."""

    OK = 1
    PENDING = 2
    FIRING = 3
    RECOVERING = 4


class Health(IntEnum):
    """Whether windows can be judged."""

    OK = 1
    NO_DATA = 2
    ERROR = 3


class Verdict(Enum):
    """What a look at the metric said."""

    BREACH = "breach"
    # Neither breached nor back beyond the recovery threshold.
    BETWEEN = "between"
    CLEAR = "clear"
    NO_DATA = "no data"
    # Fewer observations than the alert asks for.
    TOO_FEW = "too few"
    ERROR = "error"
    # Nothing new was judged; only what is owed to receivers is looked at.
    NOTHING = "nothing"


class NoDataPolicy(IntEnum):
    """What a window without a value counts as."""

    KEEP = 1
    FIRE = 2
    OK = 3


class NoticeKind(IntEnum):
    """What receivers are told."""

    FIRE = 1
    REPEAT = 2
    RESOLVE = 3
    NO_DATA = 4
    ERROR = 5
    # Still firing: for receivers that forget an alert they do not hear of.
    REFRESH = 6
    # Somebody tries the channels out.
    TEST = 7


class Reason(IntEnum):
    """Why the state is what it is after a look."""

    CLEAR = 1
    PENDING = 2
    FIRED = 3
    STILL_FIRING = 4
    REPEATED = 5
    NOT_RECOVERED = 6
    RECOVERING = 7
    RESOLVED = 8
    FIRED_AGAIN = 9
    CLEARED_BEFORE_FIRING = 10
    NO_DATA = 11
    TOO_FEW = 12
    ERROR = 13
    HELD = 14
    ANNOUNCED_LATE = 15
    WITHDRAWN = 16
    SKIPPED = 17


@dataclass(frozen=True, slots=True)
class Policy:
    """How an alert moves.

    `for_windows`: breached windows in a row that must follow the first before it fires.
    `keep_firing_windows`: clear ones in a row that must follow the first before it is OK.
    `repeat_micros`: None never repeats.
    """

    for_windows: int = 0
    keep_firing_windows: int = 0
    repeat_micros: int | None = None
    no_data: NoDataPolicy = NoDataPolicy.KEEP


@dataclass(frozen=True, slots=True)
class State:
    """Where an alert is."""

    condition: Condition = Condition.OK
    health: Health = Health.OK
    # The number of the latest episode, 0 before the first.
    episode: int = 0
    # Whether receivers were told that this episode began and not yet that it ended. May outlive the episode
    # where its end is held.
    announced: bool = False
    # Windows in a row that count towards the end of PENDING or RECOVERING, the first one excluded.
    streak: int = 0
    # Ills that receivers were told of since the alert was last healthy.
    told: frozenset[Health] = frozenset()
    # When receivers were last told that it fires, in Unix microseconds.
    fire_told: int | None = None
    # Somebody takes care of this episode: it is not repeated.
    acknowledged: bool = False
    # How many notices there were.
    sequence: int = 0

    @property
    def owes(self) -> bool:
        """Whether receivers do not know of the present state."""
        fires = self.condition in {Condition.FIRING, Condition.RECOVERING}
        ill = self.health is not Health.OK and self.health not in self.told
        return fires != self.announced or ill


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after a look, why, and what receivers are to be told, in this order."""

    state: State
    reason: Reason
    notices: tuple[NoticeKind, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is (Unix microseconds), and whether a silence or quiet hours hold announcements."""

    now: int
    held: bool = False
