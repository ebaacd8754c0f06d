"""Messages as Segment's and RudderStack's libraries send them, made into events.

https://segment.com/docs/connections/spec/ tells what they mean.
"""

from typing import TYPE_CHECKING, Final

from brain.events.v1.events_pb2 import Event

from gateway.capture import received as common
from gateway.capture.received import Received, Stamp, Who

if TYPE_CHECKING:
    from shared.json_values import JsonValue as Json

# What of a message's context is kept, as the property `context`; the rest is about networks and libraries.
_CONTEXT: Final = frozenset({"campaign", "locale", "timezone", "os", "app"})

# Kinds of messages that have a name or the like beside their properties.
_NAMED: Final = frozenset({"page", "screen", "group"})
_NAMES: Final = ("name", "category", "groupId")


def event_of(message: "dict[str, Json]", kind: str, received: Received) -> Event:
    """Return the event of a message of this kind; raise ValueError with what is wrong."""
    context = common.mapping(message.get("context"))
    by = _who(message, kind)
    properties = _properties(message, kind)
    made = common.event(
        message.get("event") if kind == "track" else kind,
        by,
        _stamp(message, received),
        common.session(context.get("sessionId"), by, received),
        properties,
    )
    page = common.mapping(context.get("page"))
    made.page = _first(properties, "path", "url") or _first(page, "path", "url")
    made.referrer = common.text(properties.get("referrer")) or common.text(page.get("referrer"))
    made.user_agent = common.text(context.get("userAgent"))
    about = {} if _CONTEXT.isdisjoint(context) else _about(context)
    made.properties_json = common.kept({**properties, "context": about} if about else properties)
    return made


def _about(context: "dict[str, Json]") -> "dict[str, Json]":
    return {name: value for name, value in context.items() if name in _CONTEXT and value is not None}


def kind_of(message: "dict[str, Json]") -> str:
    """Return the kind of a message that stands in a batch; raise ValueError for an unknown one."""
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"type must be one of {', '.join(KINDS)}")
    return kind


def _who(message: "dict[str, Json]", kind: str) -> Who:
    if kind == "alias":
        return common.who(message.get("userId"), message.get("previousId"), "userId")
    return common.who(message.get("userId"), message.get("anonymousId"), "userId or anonymousId")


def _properties(message: "dict[str, Json]", kind: str) -> "dict[str, Json]":
    given = common.mapping(message.get(KINDS[kind]))
    if kind not in _NAMED:
        return given
    named = {name: message[name] for name in _NAMES if message.get(name) is not None}
    return {**given, **named}


def _stamp(message: "dict[str, Json]", received: Received) -> Stamp:
    # The sender's time as it is: one that was corrected by `sentAt` would differ from attempt to attempt.
    time = common.moment(message.get("timestamp") or message.get("originalTimestamp"))
    return Stamp(common.identifier(message.get("messageId")), time or received.now)


def _first(given: "dict[str, Json]", *names: str) -> str:
    for name in names:
        found = common.text(given.get(name))
        if found:
            return found
    return ""


# Each kind of message, and where its particulars stand.
KINDS: Final = {
    "track": "properties",
    "identify": "traits",
    "page": "properties",
    "screen": "properties",
    "group": "traits",
    "alias": "properties",
}
