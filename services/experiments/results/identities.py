"""Who is who at the events service: its keys by ours, kept in the database and in memory.

A user keeps their key. An anonymous id may be merged into a user, so those are asked for again after a
minute, or after ten times as long as asking took. Whom the events service does not know is asked for again
once somebody unknown turns up in its events.

Only an erasure there, or a restore of its database, gives a user another key: so the users with the highest
keys are asked for again then, too, and where one differs, everything is forgotten.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isinf
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from brain.events.v1 import events_pb2
from numpy.typing import NDArray

from shared.database import driver_cursor
from shared.deadlines import remaining_seconds
from shared.errors import DeadlineExceeded
from shared.packed_arrays import INT4, PackedArray
from shared.who import PersonKind

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub

    from shared.people import UserDictionary

_RESOLVED_AT_ONCE: Final = 10_000
_TRUSTED_SECONDS: Final = 60.0
_REST_RATIO: Final = 10.0
_CHECKED: Final = 100
_NEVER_ASKED: Final = -1
_UNKNOWN: Final = 0
_KINDS: Final = {
    PersonKind.USER: events_pb2.USER_KIND_USER,
    PersonKind.ANONYMOUS: events_pb2.USER_KIND_ANONYMOUS,
}
_OUR_KINDS: Final = {theirs: kind for kind, theirs in _KINDS.items()}

_LOAD = """
SELECT string_agg(int4send(user_key), ''), string_agg(int4send(event_user_key), '') FROM event_identities
"""

# In one order, so that replicas that meet wait, and never for each other.
_KEEP = """
INSERT INTO event_identities (user_key, event_user_key)
SELECT * FROM unnest(%(ours)b::int4[], %(theirs)b::int4[]) AS known(ours, theirs) ORDER BY ours
ON CONFLICT (user_key) DO UPDATE SET event_user_key = excluded.event_user_key
WHERE event_identities.event_user_key <> excluded.event_user_key
"""


_FORGET = "DELETE FROM event_identities"


@dataclass
class _Known:
    """Their keys by ours; which of ours are anonymous; since when that is trusted; how long asking took."""

    theirs: NDArray[np.int32]
    anonymous: NDArray[np.bool_]
    since: float
    asking_seconds: float = 0.0

    def trusted_until(self) -> float:
        """Return when to ask for anonymous ids again, which then takes as long as it took before."""
        return self.since + max(_TRUSTED_SECONDS, _REST_RATIO * self.asking_seconds)

    def reach(self, highest: int) -> None:
        """Make room for keys up to this one."""
        missing = highest + 1 - len(self.theirs)
        if missing > 0:
            missing += len(self.theirs) // 4
            self.theirs = np.r_[self.theirs, np.full(missing, _NEVER_ASKED, np.int32)]
            self.anonymous = np.r_[self.anonymous, np.zeros(missing, np.bool_)]

    def unasked(self, user_keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of ours whom nobody asked for yet; there is room for all of them afterwards."""
        self.reach(int(user_keys.max(initial=0)))
        unasked: NDArray[np.int32] = user_keys[self.theirs[user_keys] == _NEVER_ASKED]
        return unasked


@dataclass
class Identities:
    """Looks up keys of the events service. Safe to share between threads."""

    events: "EventsServiceStub"
    users: "UserDictionary"
    now: Callable[[], float] = time.monotonic
    _lock: RLock = field(default_factory=RLock)
    _known: _Known | None = None

    def keys(self, user_keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the key of each, 0 of those that are not known there."""
        with self._alone():
            known = self._current()
            self._ask(known, known.unasked(user_keys))
            return known.theirs[user_keys]

    def unasked(self, user_keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of ours whom nobody asked for yet."""
        with self._alone():
            return self._current().unasked(user_keys)

    def introduce(self, user_keys: NDArray[np.int32], strangers: NDArray[np.int32]) -> bool:
        """Find out which of the unknown ones of ours are strangers, by their keys; return whether any is.

        Whichever are fewer are asked for.
        """
        with self._alone():
            known = self._current()
            unknown = user_keys[known.theirs[user_keys] == _UNKNOWN]
            before = len(unknown)
            if len(strangers) < before:
                self._ask_for_strangers(known, unknown, strangers)
            else:
                self._ask(known, unknown)
            return int(np.count_nonzero(known.theirs[user_keys] == _UNKNOWN)) < before

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for whoever asks now, for as long as the caller does: of many people that takes a minute."""
        seconds = remaining_seconds()
        if not self._lock.acquire(timeout=-1 if isinf(seconds) else seconds):
            raise DeadlineExceeded("others ask who is who at the events service", "IDENTITIES_BUSY")
        try:
            yield
        finally:
            self._lock.release()

    def _current(self) -> _Known:
        known = self._known or self._load()
        if self.now() > known.trusted_until():
            known.asking_seconds = 0.0
            if self._differs(known):
                with self.users.engine.begin() as connection, driver_cursor(connection) as cursor:
                    cursor.execute(_FORGET)
                known.theirs[:] = _NEVER_ASKED
            known.theirs[known.anonymous] = _NEVER_ASKED
            known.since = self.now()
        self._known = known
        return known

    def _differs(self, known: _Known) -> bool:
        users = np.flatnonzero((known.theirs > 0) & ~known.anonymous)
        highest = users[np.argsort(known.theirs[users])[-_CHECKED:]]
        before = known.theirs[highest].copy()
        self._ask(known, highest.astype(np.int32))
        return bool((known.theirs[highest] != before).any())

    def _load(self) -> _Known:
        with self.users.engine.begin() as connection, driver_cursor(connection) as cursor:
            row = cursor.execute(_LOAD).fetchone()
        ours, theirs = (np.frombuffer(each or b"", ">i4").astype(np.int32) for each in row or (None, None))
        known = _Known(np.zeros(0, np.int32), np.zeros(0, np.bool_), float("-inf"))
        known.reach(int(ours.max(initial=0)))
        known.theirs[ours] = theirs
        return known

    def _ask(self, known: _Known, user_keys: NDArray[np.int32]) -> None:
        began = self.now()
        for at in range(0, len(user_keys), _RESOLVED_AT_ONCE):
            part = user_keys[at : at + _RESOLVED_AT_ONCE]
            ours = {who: key for key, who in self.users.read(part.tolist()).items()}
            anonymous = [key for (kind, _), key in ours.items() if kind is PersonKind.ANONYMOUS]
            answer = self.events.ResolveUsers(
                events_pb2.ResolveUsersRequest(
                    users=[events_pb2.UserReference(kind=_KINDS[kind], id=name) for kind, name in ours]
                )
            )
            known.theirs[part] = _UNKNOWN
            known.anonymous[anonymous] = True
            found = [ours[_OUR_KINDS[each.user.kind], each.user.id] for each in answer.users]
            self._keep(known, found, [each.user_key for each in answer.users])
        known.asking_seconds += self.now() - began

    def _ask_for_strangers(
        self, known: _Known, unknown: NDArray[np.int32], strangers: NDArray[np.int32]
    ) -> None:
        wanted = set(unknown.tolist())
        for at in range(0, len(strangers), _RESOLVED_AT_ONCE):
            part = strangers[at : at + _RESOLVED_AT_ONCE].tolist()
            answer = self.events.ResolveUsers(events_pb2.ResolveUsersRequest(user_keys=part))
            theirs = {
                (_OUR_KINDS[each.user.kind], each.user.id): each.user_key
                for each in answer.users
                if each.user.kind in _OUR_KINDS
            }
            ours = self.users.known_keys(theirs)
            mine = [who for who, key in ours.items() if key in wanted]
            self._keep(known, [ours[who] for who in mine], [theirs[who] for who in mine])

    def _keep(self, known: _Known, ours: Sequence[int], theirs: Sequence[int]) -> None:
        """Keep what was found; of anonymous ids in memory alone."""
        if not ours:
            return
        mine, keys = np.array(ours, np.int32), np.array(theirs, np.int32)
        known.theirs[mine] = keys
        lasting = ~known.anonymous[mine]
        parameters: dict[str, Any] = {
            "ours": PackedArray(mine[lasting], INT4),
            "theirs": PackedArray(keys[lasting], INT4),
        }
        with self.users.engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_KEEP, parameters)
