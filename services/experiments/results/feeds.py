"""Events of the events service that feed metrics: what participants did there.

Everything that was read or computed is kept with what it was made from, and is good for as long as that is
the same: chunks of events by revision, owners of keys by participants and identities, sums by owners and
chunks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from numpy.typing import NDArray

from services.experiments.domain import Experiment, Metric, Status
from services.experiments.results import store
from services.experiments.results.attribution import (
    Events,
    Owners,
    People,
    owners_of,
    places,
    sums_of,
    two_variants,
)
from services.experiments.results.identities import Identities
from services.experiments.results.participants import ParticipantColumns, Participants
from services.experiments.results.totals import Sums, Totals
from shared.chores import Chore
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub
    from sqlalchemy import Connection, Engine

    from services.experiments.catalogue import Catalogue
    from services.experiments.domain import EventFeed

WARMING_SECONDS: Final = 30.0
_REST_RATIO: Final = 20.0
_TURN_SECONDS: Final = 10.0
# About 20 bytes each.
_CACHED_EVENTS: Final = 20_000_000
# Events may be stamped so far ahead.
_AHEAD_MICROS: Final = 24 * 3_600 * 1_000_000
# Keys from here on are of sessions, which take no part.
_FIRST_SESSION_KEY: Final = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    revision: int
    events: Events


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


@dataclass(frozen=True, slots=True, eq=False)
class _Attributed:
    """Participants, their keys at the events service, and who has whose events."""

    participants: Participants
    keys: NDArray[np.int32]
    owners: Owners
    # Our keys of people who take part under two ids with different variants.
    conflicting: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class _Summed:
    """Sums of a feed by variant, and what they were made from."""

    attributed: _Attributed
    chunks: list[_Chunk]
    sums: dict[int, Sums]

    def is_of(self, attributed: _Attributed, chunks: list[_Chunk]) -> bool:
        """Return whether they are the sums of the same."""
        return self.attributed is attributed and list(map(id, self.chunks)) == list(map(id, chunks))


@dataclass(frozen=True)
class EventFeeds:
    """Reads from the events service. Safe to share between threads."""

    events: "EventsServiceStub"
    identities: Identities
    clock: Callable[[], int]
    _participants: ParticipantColumns = field(default_factory=ParticipantColumns)
    _chunks: _Chunks = field(default_factory=_Chunks)
    _turns: dict[int, Lock] = field(default_factory=dict)
    # By experiment; by experiment and feed.
    _attributed: dict[int, _Attributed] = field(default_factory=dict)
    _summed: "dict[tuple[int, EventFeed], _Summed]" = field(default_factory=dict)

    def conflicting(self, connection: "Connection", experiment: Experiment) -> list[int]:
        """Return our keys of people who take part under two ids with different variants."""
        return self._attribute(experiment, self._participants.current(connection, experiment)).conflicting

    def sums(
        self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]", until: int | None
    ) -> dict[tuple[str, int], Sums]:
        """Return the sums of metrics that events feed, by metric and variant."""
        with self._turn(experiment):
            return self._read_sums(connection, experiment, metrics, until)

    @contextmanager
    def _turn(self, experiment: Experiment) -> Iterator[None]:
        """Wait for who reads the same now, not for ever: what they keep need not be read again."""
        turn = self._turns.setdefault(experiment.experiment_id, Lock())
        taken = turn.acquire(timeout=_TURN_SECONDS)
        try:
            yield
        finally:
            if taken:
                turn.release()

    def _read_sums(
        self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]", until: int | None
    ) -> dict[tuple[str, int], Sums]:
        participants = self._participants.current(connection, experiment)
        if not len(participants.user_keys):
            return {}
        start = int(participants.exposed.min())
        chunks = {feed: self._scan(feed, start) for feed in {metric.feed for metric in metrics} if feed}
        attributed = self._attribute(experiment, participants)
        if self._meets_strangers(experiment, attributed, chunks):
            attributed = self._attribute(experiment, participants)
        return {
            (metric.name, variant): sums
            for metric in metrics
            if metric.feed is not None
            for variant, sums in self._sum(
                experiment, attributed, metric.feed, chunks[metric.feed], until
            ).items()
        }

    def _attribute(self, experiment: Experiment, participants: Participants) -> _Attributed:
        keys = self.identities.keys(participants.user_keys)
        held = self._attributed.get(experiment.experiment_id)
        if held is not None and held.participants is participants and np.array_equal(held.keys, keys):
            return held
        found = keys > 0
        people = People(keys[found], participants.variants[found], participants.exposed[found])
        conflicting: list[int] = participants.user_keys[found][two_variants(people)].tolist()
        made = _Attributed(participants, keys, owners_of(people), conflicting)
        self._attributed[experiment.experiment_id] = made
        return made

    def _meets_strangers(
        self, experiment: Experiment, attributed: _Attributed, chunks: "dict[EventFeed, list[_Chunk]]"
    ) -> bool:
        """Return whether somebody did events whom we took for unknown there."""
        if (attributed.keys > 0).all():
            return False
        changed = [
            chunk
            for feed, each in chunks.items()
            for held in [self._summed.get((experiment.experiment_id, feed))]
            if held is None or not held.is_of(attributed, each)
            for chunk in each
        ]
        actors = np.unique(np.concatenate([np.zeros(0, np.int32), *(each.events.keys for each in changed)]))
        _, known = places(attributed.owners.keys, actors)
        strangers = actors[~known & (actors < _FIRST_SESSION_KEY)]
        return len(strangers) > 0 and self.identities.introduce(attributed.participants.user_keys, strangers)

    def _sum(
        self,
        experiment: Experiment,
        attributed: _Attributed,
        feed: "EventFeed",
        chunks: list[_Chunk],
        until: int | None,
    ) -> dict[int, Sums]:
        window = None if experiment.window_seconds is None else experiment.window_seconds * 1_000_000
        events = [chunk.events for chunk in chunks]
        if until is not None:
            return sums_of(attributed.owners.before(until), events, window, until)
        place = (experiment.experiment_id, feed)
        held = self._summed.get(place)
        if held is None or not held.is_of(attributed, chunks):
            held = _Summed(attributed, chunks, sums_of(attributed.owners, events, window, None))
            self._summed[place] = held
        return held.sums

    def _scan(self, feed: "EventFeed", start: int) -> list[_Chunk]:
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
        return list(found.values())


def _chunk(parts: "Sequence[events_pb2.ScanEventsResponse]") -> _Chunk:
    return _Chunk(
        parts[0].revision,
        Events(
            np.frombuffer(b"".join(each.user_keys for each in parts), "<i4"),
            np.frombuffer(b"".join(each.event_times for each in parts), "<i8"),
            np.frombuffer(b"".join(each.values for each in parts), "<i8"),
        ),
    )


def warming(engine: "Engine", catalogue: "Catalogue", feeds: EventFeeds) -> Chore:
    """Look up who came and read what they did, before anybody asks for results."""

    def run() -> float:
        began = time.monotonic()
        for experiment in catalogue.snapshot().experiments.values():
            fed = [metric for metric in experiment.metrics if metric.feed is not None]
            if fed and experiment.status in {Status.RUNNING, Status.PAUSED}:
                with engine.begin() as connection:
                    feeds.sums(connection, experiment, fed, None)
        return max(WARMING_SECONDS, _REST_RATIO * (time.monotonic() - began))

    return Chore("warming results", run)


@dataclass(frozen=True)
class ResultReader:
    """Reads totals of metrics, however they are fed; without feeds from what is tracked here alone."""

    feeds: EventFeeds | None

    def mark_merged(self, connection: "Connection", experiment: Experiment) -> None:
        """Leave out people whose ids, now one, have different variants; in a transaction that may write."""
        if self.feeds is not None and any(metric.feed for metric in experiment.metrics):
            conflicting = self.feeds.conflicting(connection, experiment)
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
