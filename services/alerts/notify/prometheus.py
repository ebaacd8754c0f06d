"""An alert as Prometheus' world knows it: labels that name it, annotations that explain it. Pure."""

import hashlib
from typing import TYPE_CHECKING

from services.alerts.condition import NoticeKind
from services.alerts.notify import words
from shared.calendar import to_datetime_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.alerts.notice import Notice

# An ill is an alert of its own, beside the one about the metric.
_ILLS = {NoticeKind.NO_DATA: "no_data", NoticeKind.ERROR: "error", NoticeKind.TEST: "test"}


def labels(notice: "Notice") -> dict[str, str]:
    """Return what names the alert, the same from FIRE to RESOLVE."""
    named = dict(notice.labels) | {
        "alertname": notice.name,
        "alert_id": notice.alert_id,
        "source": notice.source,
        "metric": notice.metric,
    }
    return named | {"notice": _ILLS[notice.kind]} if notice.kind in _ILLS else named


def annotations(notice: "Notice") -> dict[str, str]:
    """Return what explains it."""
    explained = {name.replace(" ", "_"): fact for name, fact in words.facts(notice)}
    own = words.message(notice)
    return explained | {"summary": words.head(notice)} | ({"description": own} if own else {})


def status(notice: "Notice") -> str:
    """Return "firing" or "resolved"."""
    return "resolved" if notice.kind is NoticeKind.RESOLVE else "firing"


def starts(notice: "Notice") -> str:
    """Return when the episode began, or the ill was seen."""
    return instant(notice.decided if notice.fired is None or notice.kind in _ILLS else notice.fired)


def instant(micros: int) -> str:
    """Return Unix microseconds as RFC 3339."""
    return to_datetime_utc(micros).isoformat().replace("+00:00", "Z")


def fingerprint(named: "Mapping[str, str]") -> str:
    """Return 16 hexadecimal digits that stand for a set of labels."""
    joined = "\x00".join(f"{name}\x01{value}" for name, value in sorted(named.items()))
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()
