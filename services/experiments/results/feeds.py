"""Events of the events service that feed metrics: who is who there, and what they did."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from numpy.typing import NDArray

from services.experiments.domain import Experiment, Metric, PersonKind
from services.experiments.results import store
from services.experiments.results.attribution import Events, People, sums_of, two_variants
from services.experiments.results.totals import Sums, Totals
from services.experiments.users import UserDictionary
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub
    from sqlalchemy import Connection

    from services.experiments.domain import EventFeed
    from services.experiments.results.store import Participants

# Who is who is asked again after so long: ids may have been merged since.
_KNOWN_SECONDS = 60.0
_RESOLVED_AT_ONCE = 10_000
# About 20 bytes each.
_CACHED_EVENTS = 20_000_000
# Events may be stamped so far ahead.
_AHEAD_MICROS = 24 * 3_600 * 1_000_000
_KINDS = {PersonKind.USER: events_pb2.USER_KIND_USER, PersonKind.ANONYMOUS: events_pb2.USER_KIND_ANONYMOUS}


@dataclass(frozen=True, slots=True)
class _Chunk:
    revision: int
    events: Events


class _Identities:
    """Keys of the events service by ours, forgotten after a minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._since = float("-inf")
        self._known: dict[int, int] = {}

    def current(self) -> dict[int, int]:
        """Return what is known, to be added to."""
        with self._lock:
            if time.monotonic() - self._since > _KNOWN_SECONDS:
                self._since = time.monotonic()
                self._known = {}
            return self._known


class _Chunks:
    """Chunks by feed and day; all are dropped where they become too many."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[EventFeed, dict[int, _Chunk]] = {}

    def held(self, feed: "EventFeed") -> dict[int, _Chunk]:
        """Return what is held of a feed."""
        with self._lock:
            return dict(self._held.get(feed, {}))

    def keep(self, feed: "EventFeed", chunks: dict[int, _Chunk]) -> None:
        """Hold these of a feed in place of others."""
        with self._lock:
            self._held[feed] = chunks
            rows = sum(len(each.events.keys) for held in self._held.values() for each in held.values())
            if rows > _CACHED_EVENTS:
                self._held = {}


@dataclass(frozen=True)
class EventFeeds:
    """Reads from the events service; what it sent is kept by revision. Safe to share between threads."""

    events: "EventsServiceStub"
    users: UserDictionary
    clock: Callable[[], int]
    _identities: _Identities = field(default_factory=_Identities)
    _chunks: _Chunks = field(default_factory=_Chunks)

    def people(self, participants: "Participants") -> People:
        """Return the participants whom the events service knows, under its keys."""
        keys = self._keys(participants)
        found = keys > 0
        return People(keys[found], participants.variants[found], participants.exposed[found])

    def conflicting(self, participants: "Participants") -> list[int]:
        """Return our keys of people who take part under two ids with different variants."""
        keys = self._keys(participants)
        everybody = People(keys, participants.variants, participants.exposed)
        conflicting: list[int] = participants.user_keys[two_variants(everybody) & (keys > 0)].tolist()
        return conflicting

    def _keys(self, participants: "Participants") -> NDArray[np.int32]:
        """Return the key of each at the events service; 0 of those it does not know."""
        known = self._identities.current()
        ours = participants.user_keys.tolist()
        missing = [key for key in ours if key not in known]
        for at in range(0, len(missing), _RESOLVED_AT_ONCE):
            known.update(self._resolve(missing[at : at + _RESOLVED_AT_ONCE]))
        return np.array([known.get(key, 0) for key in ours], np.int32)

    def sums(
        self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]", until: int | None
    ) -> dict[tuple[str, int], Sums]:
        """Return the sums of metrics that events feed, by metric and variant."""
        participants = store.read_participants(connection, experiment, until)
        if not len(participants.user_keys):
            return {}
        people = self.people(participants)
        window = None if experiment.window_seconds is None else experiment.window_seconds * 1_000_000
        start = int(participants.exposed.min())
        return {
            (metric.name, variant): sums
            for metric in metrics
            if metric.feed is not None
            for variant, sums in sums_of(people, self._scan(metric.feed, start), window, until).items()
        }

    def _resolve(self, keys: "Sequence[int]") -> dict[int, int]:
        people = self.users.read(keys)
        ours = {who: key for key, who in people.items()}
        request = events_pb2.ResolveUsersRequest(
            users=[events_pb2.UserReference(kind=_KINDS[kind], id=name) for kind, name in ours]
        )
        kinds = {theirs: kind for kind, theirs in _KINDS.items()}
        return {
            ours[kinds[each.user.kind], each.user.id]: each.user_key
            for each in self.events.ResolveUsers(request).users
        }

    def _scan(self, feed: "EventFeed", start: int) -> list[Events]:
        held = self._chunks.held(feed)
        request = events_pb2.ScanEventsRequest(
            events=[feed.event],
            time_range=common_pb2.TimeRange(
                start_time=from_micros(start), end_time=from_micros(self.clock() + _AHEAD_MICROS)
            ),
            filters=map(common_pb2.PropertyFilter.FromString, feed.filters),
            with_value=True,
            known_chunks=[
                events_pb2.KnownChunk(event=feed.event, day=day, revision=chunk.revision)
                for day, chunk in held.items()
            ],
        )
        found: dict[int, _Chunk] = {}
        parts: list[events_pb2.ScanEventsResponse] = []
        for message in self.events.ScanEvents(request):
            parts.append(message)
            if message.partial:
                continue
            found[message.day] = held[message.day] if message.unchanged else _chunk(parts)
            parts = []
        self._chunks.keep(feed, found)
        return [chunk.events for chunk in found.values()]


def _chunk(parts: "Sequence[events_pb2.ScanEventsResponse]") -> _Chunk:
    return _Chunk(
        parts[0].revision,
        Events(
            np.frombuffer(b"".join(each.user_keys for each in parts), "<i4"),
            np.frombuffer(b"".join(each.event_times for each in parts), "<i8"),
            np.frombuffer(b"".join(each.values for each in parts), "<i8"),
        ),
    )


@dataclass(frozen=True)
class ResultReader:
    """Reads totals of metrics, however they are fed; without feeds from what is tracked here alone."""

    feeds: EventFeeds | None

    def mark_merged(self, connection: "Connection", experiment: Experiment) -> None:
        """Leave out people whose ids, now one, have different variants; in a transaction that may write."""
        if self.feeds is not None and any(metric.feed for metric in experiment.metrics):
            participants = store.read_participants(connection, experiment, None)
            conflicting = self.feeds.conflicting(participants)
            if conflicting:
                store.mark_conflicting(connection, experiment, conflicting)

    def totals(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        until: int | None = None,
    ) -> Totals:
        """Return totals of metrics, of now or of what happened before a moment in Unix microseconds."""
        tracked = [metric.name for metric in metrics if metric.feed is None]
        found = store.read_totals(connection, experiment, tracked, until)
        fed = [metric for metric in metrics if metric.feed is not None]
        if not fed or self.feeds is None:
            return found
        return replace(found, sums={**found.sums, **self.feeds.sums(connection, experiment, fed, until)})
