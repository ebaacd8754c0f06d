"""A notice in words, for channels to dress up. Pure."""

from zoneinfo import ZoneInfo

from services.alerts.condition import NoticeKind
from services.alerts.notice import Notice
from services.alerts.telling import number
from services.alerts.templates import fill
from shared.calendar import to_datetime

_HEADS = {
    NoticeKind.FIRE: "FIRING",
    NoticeKind.REPEAT: "STILL FIRING",
    NoticeKind.REFRESH: "STILL FIRING",
    NoticeKind.RESOLVE: "RESOLVED",
    NoticeKind.NO_DATA: "NO DATA",
    NoticeKind.ERROR: "CANNOT BE READ",
    NoticeKind.TEST: "TEST",
}


def head(notice: Notice) -> str:
    """Return one line: what, and of which alert."""
    return f"{_HEADS[notice.kind]}: {notice.name}"


def facts(notice: Notice) -> list[tuple[str, str]]:
    """Return what is known, in the order to read it; what there is none of is left out."""
    known = [
        ("metric", f"{notice.source} {_metric(notice)}"),
        ("fires when", notice.rule),
        ("value", None if notice.value is None else number(notice.value)),
        ("compared", None if notice.compared in {None, notice.value} else number(notice.compared or 0.0)),
        ("window", window(notice)),
        ("observations", None if notice.sample is None else f"{notice.sample:,}"),
        ("because", notice.detail or None),
    ]
    return [(name, fact) for name, fact in known if fact is not None]


def message(notice: Notice) -> str:
    """Return the author's own words, with theirs replaced."""
    return fill(
        notice.message,
        {
            "name": notice.name,
            "metric": _metric(notice),
            "value": "none" if notice.value is None else number(notice.value),
            "threshold": number(notice.threshold),
            "window": window(notice) or "none",
        },
    )


def window(notice: Notice) -> str | None:
    """Return when the window was, on the clock of the alert's zone."""
    if notice.window_start is None or notice.window_end is None:
        return None
    zone = ZoneInfo(notice.time_zone)
    start, end = to_datetime(notice.window_start, zone), to_datetime(notice.window_end, zone)
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} {notice.time_zone}"


def _metric(notice: Notice) -> str:
    if not notice.metric_labels:
        return notice.metric
    labels = ", ".join(f"{name}={value}" for name, value in sorted(notice.metric_labels.items()))
    return f"{notice.metric} ({labels})"
