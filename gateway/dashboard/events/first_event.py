"""How to send a first event, told where there is none yet."""

import json
from shlex import quote

_EVENT = {"userId": "ada", "event": "signed_up"}


def command(origin: str, write_key: str, events_address: str) -> str:
    """Return what to run in a terminal.

    It carries a write key, for that is no secret: it stands in web pages and allows nothing but sending.
    Where there is none, `brain` looks for a token of its own.
    """
    if not write_key:
        return f"brain --address {quote(events_address)} track {_EVENT['event']} --user {_EVENT['userId']}"
    return " ".join(
        (
            f"curl -u {quote(f'{write_key}:')} -H 'content-type: application/json'",
            f"-d {quote(json.dumps(_EVENT))} {quote(f'{origin}/v1/track')}",
        )
    )
