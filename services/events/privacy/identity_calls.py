"""The calls of EventsService about who somebody is, answered by the primary: others keep what they say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2, identity_pb2

from services.events import messages, questions
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
class IdentityCalls:
    """Translates ids, and merges anonymous ones into users."""

    users: UserDictionary
    merger: Merger

    def LinkUser(
        self, request: identity_pb2.LinkUserRequest, context: "grpc.ServicerContext"
    ) -> identity_pb2.LinkUserResponse:
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
        return identity_pb2.LinkUserResponse(
            moved_events=link.moved_events, already_linked=link.already_linked
        )

    def ResolveUsers(
        self, request: events_pb2.ResolveUsersRequest, context: "grpc.ServicerContext"
    ) -> events_pb2.ResolveUsersResponse:
        """Translate between ids and keys."""
        violations = Violations()
        people = [
            messages.who(violations, f"users[{index}]", reference)
            for index, reference in enumerate(request.users)
        ]
        if len(request.users) + len(request.user_keys) > questions.MAXIMUM_RESOLVED:
            violations.add("users", f"at most {questions.MAXIMUM_RESOLVED:,} together with user_keys")
        violations.raise_if_any()
        keys = self.users.known_keys(people) if people else {}
        resolved = [
            events_pb2.ResolvedUser(user=messages.to_reference(who), user_key=keys[who])
            for who in people
            if who in keys
        ]
        merged = self.users.merged(request.user_keys) if request.user_keys else {}
        current = {key: merged.get(key, key) for key in request.user_keys}
        names = self.users.read(current.values()) if current else {}
        resolved += [
            events_pb2.ResolvedUser(
                user=messages.to_reference(names[current[key]]),
                user_key=current[key],
                asked_user_key=key if key in merged else None,
            )
            for key in request.user_keys
            if current[key] in names
        ]
        return events_pb2.ResolveUsersResponse(users=resolved)
