"""Outcomes as rows of JSON, for statements that write many at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.alerts.condition import Condition, NoticeKind, Reason
from services.alerts.notice import number_text
from shared.calendar import to_datetime_utc

if TYPE_CHECKING:
    from services.alerts.notice import Notice
    from services.alerts.outcome import Entry, Outcome


def state_row(outcome: "Outcome") -> Mapping[str, object]:
    """Return the row of a state."""
    state, claimed = outcome.state, outcome.claimed
    unchanged = state.condition is claimed.state.condition
    return {
        "alert_key": claimed.alert_key,
        "fence": claimed.fence,
        "condition": state.condition.value,
        "health": state.health.value,
        "since_time": text_of(claimed.since if unchanged else outcome.now),
        "episode": state.episode,
        "announced": state.announced,
        "streak": state.streak,
        "told": sorted(health.value for health in state.told),
        "fire_told_time": text_of(state.fire_told),
        "acknowledged": state.acknowledged,
        "sequence": state.sequence,
        "owes": state.owes,
        "held_until_time": text_of(outcome.held_until),
        "judged_until_time": text_of(outcome.judged_until),
        "attempts": outcome.attempts,
        "due_time": text_of(outcome.due),
        "source": outcome.source,
    }


def entry_row(outcome: "Outcome", entry: "Entry") -> Mapping[str, object]:
    """Return the row of a line of history."""
    before, state, seen = outcome.claimed.state, outcome.state, entry.seen
    moved = (before.condition, before.health) != (state.condition, state.health)
    told = [notice for notice in entry.notices if notice is not NoticeKind.REFRESH]
    start, end = entry.span or ((seen.start, seen.end) if seen else (None, None))
    return {
        "alert_key": outcome.claimed.alert_key,
        "recorded_time": text_of(outcome.now),
        "window_start_time": text_of(start),
        "window_end_time": text_of(end),
        "value": number_text(seen.value) if seen else None,
        "baseline_value": number_text(seen.baseline) if seen else None,
        "compared": number_text(seen.compared) if seen else None,
        "threshold": entry.threshold,
        "sample_size": seen.sample if seen else None,
        "condition": state.condition.value,
        "health": state.health.value,
        "reason": entry.reason.value,
        "episode": state.episode,
        "notices": [notice.value for notice in entry.notices],
        "held": entry.held,
        "changed": entry.reason is not Reason.SKIPPED and (moved or bool(told)),
        "detail": entry.detail,
    }


def begun(outcome: "Outcome") -> list[Mapping[str, object]]:
    """Return the row of an episode that began, if one did."""
    if outcome.state.episode == outcome.claimed.state.episode:
        return []
    key = outcome.claimed.alert_key
    return [{"alert_key": key, "episode": outcome.state.episode, "fired_time": text_of(outcome.now)}]


def resolved(outcome: "Outcome") -> list[Mapping[str, object]]:
    """Return the end of an episode, or None for an end that was taken back."""
    fires = {Condition.FIRING, Condition.RECOVERING}
    before, after = outcome.claimed.state.condition in fires, outcome.state.condition in fires
    if before == after:
        return []
    end = None if after else text_of(outcome.now)
    return [{"alert_key": outcome.claimed.alert_key, "episode": outcome.state.episode, "resolved_time": end}]


def notice_row(outcome: "Outcome", notice: "Notice") -> Mapping[str, object]:
    """Return the row of a notice, which the statement multiplies by its recipients."""
    return {
        "alert_key": outcome.claimed.alert_key,
        "episode": notice.episode,
        "kind": notice.kind.value,
        "sequence": notice.sequence,
        "notice": notice.to_json(),
        "decided_time": text_of(notice.decided),
    }


def text_of(micros: int | None) -> str | None:
    """Return Unix microseconds as PostgreSQL reads them."""
    return None if micros is None else to_datetime_utc(micros).isoformat()
