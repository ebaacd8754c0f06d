"""People as the wire names them."""

from typing import TYPE_CHECKING

from brain.experiments.v1 import experiments_pb2 as pb

from shared.validation import text
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from shared.validation import Violations

MAXIMUM_ID = 200


def who(violations: "Violations", field: str, person: pb.Person) -> Who:
    """Return somebody; raise nothing, but add a violation unless there is exactly one good id."""
    if bool(person.user_id) == bool(person.anonymous_id):
        violations.add(field, "needs exactly one of user_id and anonymous_id")
        return PersonKind.USER, ""
    if person.user_id:
        return PersonKind.USER, text(violations, f"{field}.user_id", person.user_id, maximum=MAXIMUM_ID)
    anonymous_id = text(violations, f"{field}.anonymous_id", person.anonymous_id, maximum=MAXIMUM_ID)
    return PersonKind.ANONYMOUS, anonymous_id
