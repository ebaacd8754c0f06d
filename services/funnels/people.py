"""People as the wire names them."""

from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2
from brain.events.v1.events_pb2 import UserReference

from services.funnels.domain import PersonKind, Who
from shared.validation import chosen, text

if TYPE_CHECKING:
    from shared.validation import Violations

MAXIMUM_ID = 200
_KINDS = {
    PersonKind.USER: events_pb2.USER_KIND_USER,
    PersonKind.ANONYMOUS: events_pb2.USER_KIND_ANONYMOUS,
    PersonKind.SESSION: events_pb2.USER_KIND_SESSION,
}


def who(violations: "Violations", field: str, reference: UserReference) -> Who:
    """Return somebody; raise nothing, but add a violation for a kind or an id that is none."""
    name = text(violations, f"{field}.id", reference.id, maximum=MAXIMUM_ID)
    kinds = {number: kind for kind, number in _KINDS.items()}
    return chosen(violations, f"{field}.kind", reference.kind, kinds), name


def to_reference(somebody: Who) -> UserReference:
    """Return somebody as a message."""
    kind, name = somebody
    return UserReference(kind=_KINDS[kind], id=name)
