"""Text messages by Twilio's API, or any of its shape."""

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from services.alerts.notify import words
from services.alerts.telling import number

if TYPE_CHECKING:
    from pydantic import SecretStr

    from services.alerts.notice import Notice
    from services.alerts.notify.answer import Answer
    from services.alerts.notify.http import HttpPoster

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # ITU-T E.164
# Two parts of a message in UCS-2.
_CHARACTERS = 134


def is_number(text: str) -> bool:
    """Return whether a text is a telephone number with its country's code."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True)
class Sms:
    """Sends text messages from `sender`, a number or a messaging service's name."""

    poster: "HttpPoster"
    base_url: str
    account: str
    token: "SecretStr"
    sender: str

    def send(self, notice: "Notice", recipient: str, _delivery_id: int) -> "Answer":
        """Send one message: POST /2010-04-01/Accounts/{account}/Messages.json."""
        url = f"{self.base_url.rstrip('/')}/2010-04-01/Accounts/{quote(self.account, safe='')}/Messages.json"
        token = self.token.get_secret_value()
        credentials = base64.b64encode(f"{self.account}:{token}".encode()).decode()
        form = {"To": recipient, "From": self.sender, "Body": text(notice)}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"Basic {credentials}",
        }
        return self.poster.post(url, urlencode(form).encode(), headers, (token, credentials))


def text(notice: "Notice") -> str:
    """Return a short message."""
    value = "" if notice.value is None else f" ({number(notice.value)}, {notice.rule})"
    whole = f"{words.head(notice)}{value}"
    return whole if len(whole) <= _CHARACTERS else f"{whole[: _CHARACTERS - 1]}…"
