"""Whom PrivacyService is asked about, in the words of this service."""

from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2

from services.experiments.people import MAXIMUM_ID
from shared.validation import text
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import UserReference

    from shared.validation import Violations

# Of somebody with a session alone nothing is held: who takes part has an id.
_KINDS = {
    events_pb2.USER_KIND_USER: PersonKind.USER,
    events_pb2.USER_KIND_ANONYMOUS: PersonKind.ANONYMOUS,
    events_pb2.USER_KIND_SESSION: None,
}


def read_who(violations: "Violations", field: str, reference: "UserReference") -> Who | None:
    """Return somebody; None for a session, and after a violation."""
    name = text(violations, f"{field}.id", reference.id, maximum=MAXIMUM_ID)
    if reference.kind not in _KINDS:
        violations.add(f"{field}.kind", "must be USER, ANONYMOUS or SESSION")
    kind = _KINDS.get(reference.kind)
    return None if kind is None else (kind, name)
