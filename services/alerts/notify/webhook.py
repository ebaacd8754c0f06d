"""Webhooks with the body of Alertmanager's (version 4), signed as Standard Webhooks say.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts.notify import prometheus

if TYPE_CHECKING:
    from services.alerts.notice import Notice
    from services.alerts.notify.answer import Answer
    from services.alerts.notify.http import HttpPoster

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def parse_secret(text: str) -> bytes:
    """Read `whsec_` and base64; raise ValueError, which never quotes it, unless 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise ValueError("must be whsec_ and base64") from None
    if not text.startswith(_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(f"must be {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64")
    return key


@dataclass(frozen=True)
class Webhook:
    """Posts to URLs; `key` signs."""

    poster: "HttpPoster"
    key: bytes | None

    def send(self, notice: "Notice", recipient: str, delivery_id: int) -> "Answer":
        """Post one notice. Its id and body are the same at each attempt; the time stamp is the attempt's."""
        content = json.dumps(body(notice), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        message_id, stamp = f"brain-{delivery_id}", str(int(self.poster.now()))
        headers |= {"webhook-id": message_id, "webhook-timestamp": stamp}
        if self.key is not None:
            headers["webhook-signature"] = signature(self.key, message_id, stamp, content)
        return self.poster.post(recipient, content, headers)


def signature(key: bytes, message_id: str, stamp: str, content: bytes) -> str:
    """Return `v1,` and the base64 of HMAC-SHA256 over id.timestamp.body."""
    signed = b".".join((message_id.encode(), stamp.encode(), content))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def body(notice: "Notice") -> dict[str, object]:
    """Return the body of a group that is this one alert."""
    labels = prometheus.labels(notice)
    annotations = prometheus.annotations(notice)
    status = prometheus.status(notice)
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": prometheus.starts(notice),
        "endsAt": prometheus.instant(notice.decided) if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": prometheus.fingerprint(labels),
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alert_id="{notice.alert_id}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "analytics-brain",
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [alert],
    }
