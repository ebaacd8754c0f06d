"""What was seen and told of an alert, and what is silenced, as rows of tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.dashboard.alerts import words
from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, tzinfo

    from brain.alerts.v1 import alert_pb2
    from google.protobuf.timestamp_pb2 import Timestamp

    from gateway.dashboard.alerts.words import Measure
    from gateway.dashboard.page.csv_files import Cell

CSV_HEADER: Final = (
    "recorded_time",
    "window_start_time",
    "window_end_time",
    "value",
    "baseline_value",
    "compared",
    "threshold",
    "sample_size",
    "condition",
    "health",
    "episode",
    "reason",
    "detail",
    "told",
    "held",
)
EVERY: Final = "every alert"


@dataclass(frozen=True, slots=True)
class Instant:
    """A time as it is shown, and exactly."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Look:
    """A line of the history: what was seen, what came of it and why."""

    recorded: Instant
    window: str
    value: str
    exact_value: str
    threshold: str
    sample: str
    status: str
    why: str
    told: str


@dataclass(frozen=True, slots=True)
class Told:
    """A line of the ledger: what was told to whom, and what became of it."""

    created: Instant
    kind: str
    channel: str
    recipient: str
    status: str
    attempts: str
    answer: str


@dataclass(frozen=True, slots=True)
class Silenced:
    """A silence that is not over."""

    key: str
    about: str
    start: Instant
    end: Instant
    has_begun: bool
    comment: str
    who: str


def look(entry: "alert_pb2.HistoryEntry", measure: "Measure", zone: "tzinfo") -> Look:
    """Return a line of the history."""
    compared = entry.compared if entry.HasField("compared") else None
    return Look(
        recorded=instant(entry.recorded_time, zone),
        window=_window(entry, zone),
        value=measure.compared(compared),
        exact_value=_exact(entry, measure),
        threshold=measure.compared(entry.threshold) if entry.HasField("threshold") else formats.NOTHING,
        sample=formats.whole(entry.sample_size) if entry.HasField("sample_size") else formats.NOTHING,
        status=words.CONDITIONS.get(entry.condition, "unknown"),
        why=_why(entry),
        told=_told(entry),
    )


def told(delivery: "alert_pb2.Delivery", zone: "tzinfo") -> Told:
    """Return a line of the ledger."""
    return Told(
        created=instant(delivery.created_time, zone),
        kind=words.NOTICES.get(delivery.kind, "refresh"),
        channel=words.CHANNELS.get(delivery.channel, "unknown"),
        recipient=delivery.recipient or "(anonymised)",
        status=words.DELIVERIES.get(delivery.status, "unknown"),
        attempts=formats.whole(delivery.attempts),
        answer=delivery.answer,
    )


def silenced(silence: "alert_pb2.Silence", now: "datetime", zone: "tzinfo") -> Silenced:
    """Return a line of the silences."""
    labels = [f"{name}={value}" for name, value in sorted(silence.labels.items())]
    return Silenced(
        key=silence.silence_id,
        about=", ".join([*silence.alert_ids, *labels]) or EVERY,
        start=instant(silence.start_time, zone),
        end=instant(silence.end_time, zone),
        has_begun=formats.moment(silence.start_time) <= now,
        comment=silence.comment,
        who=silence.created_by or "somebody",
    )


def exported(entries: "Iterable[alert_pb2.HistoryEntry]", zone: "tzinfo") -> "Iterable[Sequence[Cell]]":
    """Yield a row for each look, newest first."""
    for entry in entries:
        window = entry.window if entry.HasField("window") else None
        yield (
            formats.exact_time(formats.moment(entry.recorded_time), zone),
            formats.exact_time(formats.moment(window.start_time), zone) if window else None,
            formats.exact_time(formats.moment(window.end_time), zone) if window else None,
            entry.value if entry.HasField("value") else None,
            entry.baseline_value if entry.HasField("baseline_value") else None,
            entry.compared if entry.HasField("compared") else None,
            entry.threshold if entry.HasField("threshold") else None,
            entry.sample_size if entry.HasField("sample_size") else None,
            words.CONDITIONS.get(entry.condition),
            words.HEALTHS.get(entry.health, "ok"),
            entry.episode,
            words.REASONS.get(entry.reason),
            entry.detail,
            _told(entry),
            "yes" if entry.held else "no",
        )


def instant(stamp: "Timestamp", zone: "tzinfo") -> Instant:
    """Return a time in a zone."""
    moment = formats.moment(stamp)
    return Instant(formats.time_of(moment, zone), formats.exact_time(moment, zone))


def _window(entry: "alert_pb2.HistoryEntry", zone: "tzinfo") -> str:
    if not entry.HasField("window"):
        return formats.NOTHING
    start, end = (
        formats.moment(each).astimezone(zone) for each in (entry.window.start_time, entry.window.end_time)
    )
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{formats.day_and_month(end)}, {end:%H:%M}"
    return f"{formats.day_and_month(start)}, {start:%H:%M} to {until}"


def _exact(entry: "alert_pb2.HistoryEntry", measure: "Measure") -> str:
    if measure.is_change and entry.HasField("value"):
        before = measure.value(entry.baseline_value if entry.HasField("baseline_value") else None)
        return f"{measure.value(entry.value)} after {before}"
    return measure.exact(entry.compared if entry.HasField("compared") else None)


def _why(entry: "alert_pb2.HistoryEntry") -> str:
    reason = words.REASONS.get(entry.reason, "unknown")
    return f"{reason}: {entry.detail}" if entry.detail else reason


def _told(entry: "alert_pb2.HistoryEntry") -> str:
    kinds = ", ".join(words.NOTICES[each] for each in entry.notices if each in words.NOTICES)
    return f"{kinds} (held)".strip() if entry.held else kinds
