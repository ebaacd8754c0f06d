"""Messages as PostHog's libraries send them, made into events of the same name.

https://posthog.com/docs/api/capture tells what they mean.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from brain.events.v1.events_pb2 import Event

from gateway.capture import received as common
from gateway.capture.received import Received, Stamp, Who

if TYPE_CHECKING:
    from shared.json_values import JsonValue as Json

# Ids and secrets that an event has elsewhere or must not have.
_DROPPED: Final = common.ADDRESSES | frozenset(
    {
        "token",
        "distinct_id",
        "alias",
        "$anon_distinct_id",
        "$device_id",
        "$user_id",
        "$session_id",
        "$pathname",
        "$referrer",
        "$raw_user_agent",
    }
)
_is_uuid7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
).fullmatch
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def event_of(message: "dict[str, Json]", received: Received) -> Event:
    """Return the event of a message; raise ValueError with what is wrong."""
    properties = common.mapping(message.get("properties"))
    by = _who(message, properties)
    made = common.event(
        message.get("event"),
        by,
        _stamp(message, received),
        common.session(properties.get("$session_id"), by, received),
        properties,
    )
    made.page = common.text(properties.get("$pathname")) or common.text(properties.get("$current_url"))
    made.referrer = common.text(properties.get("$referrer"))
    made.user_agent = common.text(properties.get("$raw_user_agent"))
    persons = {name: message[name] for name in ("$set", "$set_once") if message.get(name)}
    made.properties_json = common.kept({**properties, **persons}, _DROPPED)
    return made


def key_of(body: "dict[str, Json]") -> str:
    """Return the project key that a body or a message carries; "" where it carries none."""
    for place in (body, common.mapping(body.get("properties"))):
        for name in ("api_key", "token"):
            found = place.get(name)
            if isinstance(found, str) and found:
                return found
    return ""


def _who(message: "dict[str, Json]", properties: "dict[str, Json]") -> Who:
    distinct = common.identifier(message.get("distinct_id")) or common.identifier(
        properties.get("distinct_id") or message.get("$distinct_id")
    )
    if message.get("event") == "$create_alias":  # distinct_id is the id before
        return common.who(properties.get("alias"), distinct, "alias")
    if message.get("event") == "$identify":
        return common.who(distinct, properties.get("$anon_distinct_id"), "distinct_id")
    if _is_anonymous(distinct, properties):
        return common.who("", distinct, "distinct_id")
    return common.who(distinct, "", "distinct_id")


def _is_anonymous(distinct: str, properties: "dict[str, Json]") -> bool:
    """Tell whether a distinct_id is nobody's yet: the browser's own, or of a sender that knows nobody."""
    if properties.get("$user_id"):
        return False
    personless = properties.get("$process_person_profile") is False
    return personless or properties.get("$is_identified") is False or properties.get("$device_id") == distinct


def _stamp(message: "dict[str, Json]", received: Received) -> Stamp:
    uuid = common.identifier(message.get("uuid"))
    return Stamp(uuid, common.moment(message.get("timestamp")) or time_of(uuid) or received.now)


def time_of(uuid: str) -> datetime | None:
    """Return when a version 7 UUID was made (RFC 9562, section 5.7), else None.

    Browsers send how long ago an event was instead of when, which differs from attempt to attempt.
    """
    if not _is_uuid7(uuid):
        return None
    return _EPOCH + timedelta(milliseconds=int(uuid[:8] + uuid[9:13], 16))
