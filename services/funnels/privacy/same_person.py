"""All ids under which a person is known here: merges are known to the events service alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.funnels.reading.identities import Identities
    from shared.people import UserDictionary
    from shared.who import Who

_PAGE = 10_000


@dataclass(frozen=True)
class SamePerson:
    """Finds ids of one person."""

    users: "UserDictionary"
    identities: "Identities"

    def of(self, who: "Who") -> "list[Who]":
        """Return the id asked for, and all others here that the events service holds for the same person."""
        theirs = self.identities.resolved([who])
        if who not in theirs:
            return [who]
        wanted, _ = theirs[who]
        found, after = {who}, 0
        while keys := self.users.page(after, _PAGE):
            people = self.users.read(keys).values()
            resolved = self.identities.resolved(people)
            found |= {each for each, (key, _) in resolved.items() if key == wanted}
            after = keys[-1]
        return sorted(found)
