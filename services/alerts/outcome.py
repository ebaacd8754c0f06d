"""An alert as it was claimed, and what is written of it after a look. Pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.alerts.condition import NoticeKind, Reason, State
from services.alerts.notice import Notice
from services.alerts.plan import Plan, Seen


@dataclass(frozen=True, slots=True)
class Claimed:
    """An alert that this process may judge until somebody raises its fence."""

    alert_key: int
    fence: int
    state: State
    since: int
    judged_until: int
    attempts: int
    # When it was due; None while paused.
    due: int | None
    # Which version of the definition is in force.
    version: int
    # When the latest episode began.
    fired: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of history."""

    reason: Reason
    seen: Seen | None = None
    threshold: float | None = None
    notices: tuple[NoticeKind, ...] = ()
    held: bool = False
    detail: str = ""
    # For SKIPPED: [start, end) of what was skipped.
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is written of an alert after a look, all of it or nothing."""

    claimed: Claimed
    state: State
    now: int
    judged_until: int
    due: int | None
    attempts: int = 0
    # Kept for replicas of earlier versions, which show it.
    held_until: int | None = None
    entries: Sequence[Entry] = field(default=())
    notices: Sequence[Notice] = field(default=())
    # The source from now on, where the definition changed.
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A claimed alert with what it does."""

    claimed: Claimed
    alert_id: str
    plan: Plan
    metric_labels: Mapping[str, str]
