"""Asking the events service who is who, with a count of what was asked for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from brain.events.v1 import events_pb2

from services.experiments.results.identities import Identities
from shared.people import UserDictionary
from shared.who import Who
from tests.services.events.conftest import Service as EventsService


@dataclass
class Counted:
    """The events service, with a count of what it was asked for."""

    service: EventsService
    asked: int = 0
    look: Callable[[], object] = lambda: None

    def ResolveUsers(  # noqa: N802 - as the call is named
        self, request: events_pb2.ResolveUsersRequest
    ) -> events_pb2.ResolveUsersResponse:
        self.look()
        self.asked += len(request.users) + len(request.user_keys)
        return self.service.events.ResolveUsers(request)


@dataclass
class Asker:
    """One replica's identities, its time in the test's hand."""

    counted: Counted
    users: UserDictionary
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.identities = Identities(self.counted, self.users, lambda: self.seconds)  # type: ignore[arg-type]  # asks for no more

    def keys(self, *people: Who) -> list[int]:
        return [int(key) for key in self.identities.keys(self.ours(*people))]

    def ours(self, *people: Who) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        keys = self.users.keys(people)
        return np.array([keys[who] for who in people], np.int32)

    def introduce(self, people: list[Who], strangers: list[int]) -> bool:
        return self.identities.introduce(self.ours(*people), np.array(strangers, np.int32))

    def asked(self) -> int:
        """How many were asked for since the last time."""
        asked, self.counted.asked = self.counted.asked, 0
        return asked
