"""The call of EventsService that says who an anonymous id is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import identity_pb2 as pb

from services.events.domain import UserKind
from services.events.identity.merging import Merger
from services.events.ingest.batch import MAXIMUM_ID
from services.events.users import UserDictionary
from shared.calls import current_caller
from shared.errors import FailedPrecondition
from shared.validation import Violations, text

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True)
class LinkCalls:
    """Merges anonymous ids into users."""

    users: UserDictionary
    merger: Merger

    def LinkUser(self, request: pb.LinkUserRequest, context: "grpc.ServicerContext") -> pb.LinkUserResponse:
        """Merge one into the other."""
        violations = Violations()
        user = UserKind.USER, text(violations, "user_id", request.user_id, maximum=MAXIMUM_ID)
        anonymous = (
            UserKind.ANONYMOUS,
            text(violations, "anonymous_id", request.anonymous_id, maximum=MAXIMUM_ID),
        )
        violations.raise_if_any()
        keys = self.users.present_keys([user, anonymous])
        link = self.merger.link(keys[anonymous], keys[user], current_caller().subject)
        if link.is_another_s:
            message = "the anonymous id was merged into another user before; that is for ever"
            raise FailedPrecondition(message, "ANONYMOUS_ID_TAKEN")
        return pb.LinkUserResponse(moved_events=link.moved_events, already_linked=link.already_linked)
