"""Prometheus' Alertmanager: POST /api/v2/alerts, again while it fires.

https://prometheus.io/docs/alerting/latest/alerts_api/
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts.condition import NoticeKind
from services.alerts.notify import prometheus

if TYPE_CHECKING:
    from services.alerts.notice import Notice
    from services.alerts.notify.answer import Answer
    from services.alerts.notify.http import HttpPoster

# An alert that is not sent again for so many windows is over to Alertmanager: this service is gone then.
WINDOWS_UNTIL_OVER = 4


@dataclass(frozen=True)
class Alertmanager:
    """Posts to an Alertmanager's base URL."""

    poster: "HttpPoster"

    def send(self, notice: "Notice", recipient: str, _delivery_id: int) -> "Answer":
        """Post one alert."""
        url = f"{recipient.rstrip('/')}/api/v2/alerts"
        content = json.dumps([alert(notice, round(self.poster.now() * 1_000_000))]).encode()
        return self.poster.post(url, content, {"Content-Type": "application/json"})


def alert(notice: "Notice", now: int) -> dict[str, object]:
    """Return the alert: over at once where it is resolved, else four windows from now."""
    still = now + WINDOWS_UNTIL_OVER * notice.interval_seconds * 1_000_000
    ends = notice.decided if notice.kind is NoticeKind.RESOLVE else still
    return {
        "labels": prometheus.labels(notice),
        "annotations": prometheus.annotations(notice),
        "startsAt": prometheus.starts(notice),
        "endsAt": prometheus.instant(ends),
    }
