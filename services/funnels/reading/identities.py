"""Who the people of step records are at the events service, merges followed, and back to ids."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.events.v1 import events_pb2
from numpy.typing import NDArray

from services.funnels.domain import Population
from shared.people import UserDictionary, to_reference
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub

# A key that nobody has.
NOBODY = -1
_AT_ONCE = 10_000
_COUNTED = {
    Population.KNOWN: {PersonKind.USER},
    Population.PEOPLE: {PersonKind.USER, PersonKind.ANONYMOUS},
    Population.ACTORS: set(PersonKind),
}


@dataclass(frozen=True)
class Identities:
    """Translates keys.

    Nothing is remembered: an anonymous id may become a user's at any time, and its records follow at once.
    Somebody whom the events service does not know has the key −1 − (our key), which is below −1.
    """

    events: "EventsServiceStub"
    users: UserDictionary

    def keys(
        self, ours: NDArray[np.int32], population: Population
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the key of each of ours at the events service, and whether they are of a population."""
        different, places = np.unique(ours, return_inverse=True)
        people = self.users.read(different.tolist())
        theirs = self.resolved(people.values())
        found = [theirs.get(people[key]) if key in people else None for key in different.tolist()]
        keys = np.array(
            [-1 - key if each is None else each[0] for key, each in zip(different, found, strict=True)],
            np.int32,
        )
        # Erased since their record was read: not among the people any more.
        counts = [
            key in people and (each[1] if each else people[key][0]) in _COUNTED[population]
            for key, each in zip(different.tolist(), found, strict=True)
        ]
        return keys[places], np.array(counts, bool)[places]

    def resolved(self, people: Iterable[Who]) -> dict[Who, tuple[int, PersonKind]]:
        """Return key and kind at the events service of those it knows; of a merged id, the user's."""
        listed = list(people)
        found: dict[Who, tuple[int, PersonKind]] = {}
        for at in range(0, len(listed), _AT_ONCE):
            references = [to_reference(who) for who in listed[at : at + _AT_ONCE]]
            request = events_pb2.ResolveUsersRequest(users=references)
            for each in self.events.ResolveUsers(request).users:
                who = PersonKind(each.user.kind), each.user.id
                found[who] = each.user_key, kind_of(each.user_key)
        return found

    def key_of(self, who: Who) -> int | None:
        """Return the key that somebody's events and records have in what is loaded; None for nobody."""
        theirs = self.resolved([who])
        if who in theirs:
            return theirs[who][0]
        ours = self.users.known_keys([who])
        return -1 - ours[who] if who in ours else None

    def ids(self, keys: Sequence[int]) -> dict[int, Who]:
        """Return who keys stand for; erased ones are left out."""
        found = {-1 - key: who for key, who in self.users.read(_ours(keys)).items()}
        theirs = [key for key in keys if key >= 0]
        for at in range(0, len(theirs), _AT_ONCE):
            request = events_pb2.ResolveUsersRequest(user_keys=theirs[at : at + _AT_ONCE])
            for each in self.events.ResolveUsers(request).users:
                asked = each.asked_user_key if each.HasField("asked_user_key") else each.user_key
                found[asked] = PersonKind(each.user.kind), each.user.id
        return found


def kind_of(key: int) -> PersonKind:
    """Return what a key of the events service stands for."""
    if key >= 2**30:
        return PersonKind.SESSION
    return PersonKind.ANONYMOUS if key >= 2**29 else PersonKind.USER


def _ours(keys: Collection[int]) -> list[int]:
    return [-1 - key for key in keys if key < 0]
