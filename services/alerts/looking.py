"""One look at an alert: which windows are needed, and what their values make of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts.condition import Health, Moment, NoticeKind, Reason, Transition, Verdict
from services.alerts.holds import Silence, quiet_until, silenced_until
from services.alerts.judging import Judgement, Observation, judge
from services.alerts.outcome import Entry, Outcome, Subject
from services.alerts.plan import Plan, Seen
from services.alerts.state import transition
from services.alerts.telling import notices_of
from services.alerts.windows import Point, newest_complete
from shared.calendar import MICROS

if TYPE_CHECKING:
    from services.alerts.notice import Notice

# Windows before the latest closed one that may still be waiting for the metric to be final.
REACH_WINDOWS = 200
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5, 300
_LONGEST_DETAIL = 500


# The points of a series, or why there are none.
Answer = Sequence[Point] | str


def needed_range(subject: Subject, now: int) -> tuple[int, int] | None:
    """Return the range to read, [start, end) in Unix microseconds; None where nothing has closed."""
    grid, rule = subject.plan.grid, subject.plan.rule
    start, end = grid.last_closed(now)
    first = subject.claimed.judged_until
    if first > start:
        return None
    if first < start:
        first = max(first, grid.back(start, REACH_WINDOWS))
    return grid.back(first, rule.baseline_offset) if rule.needs_baseline else first, end


def held_until(alert_id: str, plan: Plan, silences: Sequence[Silence], now: int) -> int | None:
    """Return until when announcements are held, None where they are not."""
    quiet = quiet_until(now, plan.quiet_hours, plan.grid.zone)
    silent = silenced_until(now, silences, alert_id, plan.labels)
    return max((end for end in (quiet, silent) if end is not None), default=None)


def look(subject: Subject, answer: Answer | None, silences: Sequence[Silence], now: int) -> Outcome:
    """Return what is written of an alert after a look.

    `answer` is None where nothing had to be read.
    """
    held = held_until(subject.alert_id, subject.plan, silences, now)
    if isinstance(answer, str):
        return _after_error(subject, answer, now, held)
    points = answer or ()
    place = newest_complete(points, subject.claimed.judged_until)
    if place is None:
        return _after_nothing(subject, now, held, waits=answer is not None)
    return _after_window(subject, points, place, now, held)


def _after_window(
    subject: Subject, points: Sequence[Point], place: int, now: int, held: int | None
) -> Outcome:
    claimed, plan = subject.claimed, subject.plan
    seen, judgement = see(plan, points, place)
    moved = transition(claimed.state, judgement.verdict, plan.policy, Moment(now, held is not None))
    entry = Entry(moved.reason, seen, plan.rule.threshold, moved.notices, held is not None)
    skipped = plan.grid.windows(claimed.judged_until, seen.start) if claimed.judged_until < seen.start else []
    entries = [entry]
    if skipped:
        span = (skipped[0][0], skipped[-1][1])
        entries.insert(0, Entry(Reason.SKIPPED, detail=f"{len(skipped)} windows", span=span))
    is_latest = plan.grid.last_closed(now)[0] <= seen.start
    attempts = 0 if is_latest else claimed.attempts + 1
    due = plan.grid.next_close(now) if is_latest else now + retry_micros(attempts)
    return _outcome(subject, moved, now, held, Written(seen.end, due, attempts, entries, seen))


def see(plan: Plan, points: Sequence[Point], place: int) -> tuple[Seen, Judgement]:
    """Judge a point of a series."""
    point = points[place]
    baseline = None
    if plan.rule.needs_baseline:
        wanted = plan.grid.back(point.start, plan.rule.baseline_offset)
        baseline = next((each for each in points[: place + 1] if each.start == wanted), None)
    before = None if baseline is None else Observation(baseline.value, baseline.sample)
    judgement = judge(plan.rule, Observation(point.value, point.sample), before)
    end = plan.grid.end(point.start)
    seen = Seen(
        point.start, end, point.value, before.value if before else None, judgement.compared, point.sample
    )
    return seen, judgement


def retry_micros(attempts: int) -> int:
    """Return how long to wait before the next attempt, after so many in vain."""
    return min(RETRY_SECONDS << min(attempts, 10), LONGEST_RETRY_SECONDS) * MICROS


@dataclass(frozen=True, slots=True)
class Written:
    """What a look changes besides the state."""

    judged_until: int
    due: int | None
    attempts: int
    entries: Sequence[Entry]
    seen: Seen | None = None
    detail: str = ""


def _after_error(subject: Subject, error: str, now: int, held: int | None) -> Outcome:
    claimed, detail = subject.claimed, error[:_LONGEST_DETAIL]
    moved = transition(claimed.state, Verdict.ERROR, subject.plan.policy, Moment(now, held is not None))
    told = [kind for kind in moved.notices if kind is not NoticeKind.REFRESH]
    # The beginning of a streak, and what was told: not every attempt.
    is_news = bool(told) or claimed.state.health is not Health.ERROR
    entry = Entry(moved.reason, None, None, moved.notices, held is not None, detail)
    attempts = claimed.attempts + 1
    due = now + retry_micros(attempts)
    written = Written(claimed.judged_until, due, attempts, [entry] if is_news else [], None, detail)
    return _outcome(subject, moved, now, held, written)


def _after_nothing(subject: Subject, now: int, held: int | None, *, waits: bool) -> Outcome:
    """Announce what is owed; `waits` where a window has closed that its metric has not finished."""
    claimed = subject.claimed
    moved = transition(claimed.state, Verdict.NOTHING, subject.plan.policy, Moment(now, held is not None))
    attempts = claimed.attempts + 1 if waits else claimed.attempts
    due = now + retry_micros(attempts) if waits else subject.plan.grid.next_close(now)
    entries = [Entry(moved.reason, notices=moved.notices)] if moved.notices else []
    return _outcome(subject, moved, now, held, Written(claimed.judged_until, due, attempts, entries))


def _outcome(subject: Subject, moved: Transition, now: int, held: int | None, written: Written) -> Outcome:
    due = written.due
    if due is not None and held is not None and moved.state.owes:
        due = min(due, held)
    notices: list[Notice] = notices_of(subject, moved, now, written.seen, written.detail)
    return Outcome(
        claimed=subject.claimed,
        state=moved.state,
        now=now,
        judged_until=written.judged_until,
        due=due,
        attempts=written.attempts,
        held_until=held,
        entries=written.entries,
        notices=notices,
    )
