"""Slack's incoming webhooks: a message of blocks."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts.notify import words

if TYPE_CHECKING:
    from services.alerts.notice import Notice
    from services.alerts.notify.answer import Answer
    from services.alerts.notify.http import HttpPoster

# Slack refuses longer ones.
_HEADER_CHARACTERS, _SECTION_CHARACTERS = 150, 3_000
_HALF_ENTITY = re.compile("&[a-z]*$")


@dataclass(frozen=True)
class Slack:
    """Posts to incoming webhooks."""

    poster: "HttpPoster"

    def send(self, notice: "Notice", recipient: str, _delivery_id: int) -> "Answer":
        """Post one message to the webhook's URL."""
        return self.poster.post(
            recipient, json.dumps(body(notice)).encode(), {"Content-Type": "application/json"}
        )


def body(notice: "Notice") -> dict[str, object]:
    """Return the message; `text` is what notifications show."""
    lines = [f"*{_escape(name)}*: {_escape(fact)}" for name, fact in words.facts(notice)]
    own = words.message(notice)
    blocks: list[dict[str, object]] = [
        {"type": "header", "text": {"type": "plain_text", "text": words.head(notice)[:_HEADER_CHARACTERS]}}
    ]
    blocks += [
        {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text)}}
        for text in ([_escape(own)] if own else []) + ["\n".join(lines)]
    ]
    return {"text": _escape(words.head(notice)), "blocks": blocks}


def _cut(text: str) -> str:
    """Return as much of an escaped text as a section holds, without half an entity at its end."""
    return text if len(text) <= _SECTION_CHARACTERS else _HALF_ENTITY.sub("", text[:_SECTION_CHARACTERS])


def _escape(text: str) -> str:
    """Return a text that mentions nobody and links nowhere: https://api.slack.com/reference/surfaces/formatting."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
