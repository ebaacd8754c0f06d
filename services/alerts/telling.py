"""Turns what a transition wants told into notices."""

import math
from typing import TYPE_CHECKING

from services.alerts.condition import Condition, NoticeKind, Reason, Transition
from services.alerts.judging import ConditionKind, Rule
from services.alerts.notice import Notice
from services.alerts.windows import NOMINAL_MICROS
from shared.calendar import MICROS

if TYPE_CHECKING:
    from services.alerts.outcome import Subject
    from services.alerts.plan import Seen

_SIX_DIGITS = 1_000_000
_FIRING = {Condition.FIRING, Condition.RECOVERING}
_OF_EPISODE = {NoticeKind.FIRE, NoticeKind.REPEAT, NoticeKind.REFRESH, NoticeKind.RESOLVE}


def notices_of(
    subject: "Subject", moved: Transition, now: int, seen: "Seen | None", detail: str
) -> list[Notice]:
    """Return the notices of a transition, numbered on from those before."""
    first = moved.state.sequence - len(moved.notices) + 1
    return [
        _notice(subject, moved, (kind, first + place), now, seen, detail)
        for place, kind in enumerate(moved.notices)
    ]


def try_out(subject: "Subject", now: int) -> Notice:
    """Return what a test of the channels says."""
    moved = Transition(subject.claimed.state, Reason.HELD)
    return _notice(subject, moved, (NoticeKind.TEST, 0), now, None, "")


def _notice(
    subject: "Subject",
    moved: Transition,
    numbered: tuple[NoticeKind, int],
    now: int,
    seen: "Seen | None",
    detail: str,
) -> Notice:
    kind, sequence = numbered
    plan = subject.plan
    of_episode = kind in _OF_EPISODE or moved.state.condition in _FIRING
    began = moved.state.episode != subject.claimed.state.episode
    return Notice(
        kind=kind,
        alert_id=subject.alert_id,
        name=plan.name,
        episode=moved.state.episode if of_episode else 0,
        sequence=sequence,
        source=plan.source,
        metric=plan.metric,
        metric_labels=dict(subject.metric_labels),
        labels=dict(plan.labels),
        rule=rule_words(plan.rule),
        threshold=plan.rule.threshold,
        time_zone=str(plan.grid.zone),
        interval_seconds=NOMINAL_MICROS[plan.grid.interval] // MICROS,
        message=plan.message,
        decided=now,
        fired=(now if began else subject.claimed.fired) if of_episode else None,
        window_start=seen.start if seen else None,
        window_end=seen.end if seen else None,
        value=seen.value if seen else None,
        compared=seen.compared if seen else None,
        sample=seen.sample if seen else None,
        detail=detail,
    )


def rule_words(rule: Rule) -> str:
    """Return a rule in words."""
    match rule.kind:
        case ConditionKind.GREATER_THAN:
            return f"above {number(rule.threshold)}"
        case ConditionKind.LESS_THAN:
            return f"below {number(rule.threshold)}"
        case ConditionKind.EQUAL_TO:
            margin = f" ± {number(rule.tolerance)}" if rule.tolerance else ""
            return f"equal to {number(rule.threshold)}{margin}"
        case ConditionKind.OUTSIDE_FORECAST:
            return f"more than {number(rule.threshold)} deviations from what was forecast"
        case ConditionKind.CHANGE_RATIO:
            way = "rises" if rule.threshold > 0 else "falls"
            windows = "one window" if rule.baseline_offset == 1 else f"{rule.baseline_offset} windows"
            return f"{way} by more than {abs(rule.threshold):.3g} of its value {windows} before"


def number(value: float) -> str:
    """Return a number for people: thousands apart, six digits unless it has more before the point."""
    has_more = _SIX_DIGITS <= abs(value) < math.inf
    return f"{value:,.0f}" if has_more else f"{value:,.6g}"
