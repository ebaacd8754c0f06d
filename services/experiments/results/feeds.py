"""Events of the events service that feed metrics: what participants did there.

Everything that was read or computed is kept with what it was made from, and is good for as long as that is
the same: chunks of events by revision, owners of keys by participants and identities, sums by owners and
chunks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from services.experiments.domain import Experiment, Metric
from services.experiments.results.attribution import (
    Owners,
    People,
    owners_of,
    places,
    sums_of,
    two_variants,
)
from services.experiments.results.chunks import Chunk
from services.experiments.results.identities import Identities
from services.experiments.results.participants import ParticipantColumns, Participants
from services.experiments.results.people import Did, fed
from services.experiments.results.scanning import Scanner
from services.experiments.results.totals import Sums
from shared.calendar import DAY_MICROS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from services.experiments.domain import EventFeed

_TURN_SECONDS: Final = 10.0
# Keys from here on are of sessions, which take no part.
_FIRST_SESSION_KEY: Final = 2**30


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
    chunks: list[Chunk]
    end: int | None
    sums: dict[int, Sums]

    def is_of(self, attributed: _Attributed, chunks: list[Chunk], end: int | None) -> bool:
        """Return whether they are the sums of the same."""
        is_same = self.attributed is attributed and self.end == end
        return is_same and list(map(id, self.chunks)) == list(map(id, chunks))


@dataclass(frozen=True)
class EventFeeds:
    """Reads from the events service. Safe to share between threads."""

    scanner: Scanner
    identities: Identities
    _participants: ParticipantColumns = field(default_factory=ParticipantColumns)
    _turns: dict[int, Lock] = field(default_factory=dict)
    # By experiment; by experiment and feed.
    _attributed: dict[int, _Attributed] = field(default_factory=dict)
    _summed: "dict[tuple[int, EventFeed], _Summed]" = field(default_factory=dict)

    def newcomers(self, engine: "Engine", experiment: Experiment) -> NDArray[np.int32]:
        """Return our keys of those of whom it is not known yet who they are at the events service."""
        with engine.begin() as connection:
            participants = self._participants.current(connection, experiment)
        return self.identities.unasked(participants.user_keys)

    def conflicting(self, engine: "Engine", experiment: Experiment) -> list[int]:
        """Return our keys of people who take part under two ids with different variants.

        Who newcomers are at the events service is asked with no transaction open: of a million that takes a
        minute, and nothing is vacuumed behind an open one, which PostgreSQL may end besides.
        """
        with engine.begin() as connection:
            participants = self._participants.current(connection, experiment)
        fed_by_events = [metric for metric in experiment.metrics if metric.feed is not None]
        attributed = self._attribute(experiment, participants)
        if not fed_by_events or (attributed.keys > 0).all():  # there are no strangers to meet
            return attributed.conflicting
        with self._turn(experiment):
            attributed, _ = self._met(experiment, participants, fed_by_events)
        return attributed.conflicting

    def sums(
        self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]"
    ) -> dict[tuple[str, int], Sums]:
        """Return the sums of metrics that events feed, by metric and variant."""
        with self._turn(experiment):
            attributed, chunks = self._read(connection, experiment, metrics)
            return {
                (metric.name, variant): sums
                for metric in metrics
                if metric.feed in chunks
                for variant, sums in self._sum(
                    experiment, attributed, metric.feed, chunks[metric.feed]
                ).items()
            }

    def sums_before(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        ends: "Sequence[int]",
    ) -> list[dict[tuple[str, int], Sums]]:
        """Return the same as it stood at each of these moments, in Unix microseconds; read once for all."""
        with self._turn(experiment):
            attributed, chunks = self._read(connection, experiment, metrics)
        window = _window(experiment)
        return [
            {
                (metric.name, variant): sums
                for metric in metrics
                if metric.feed in chunks
                for variant, sums in sums_of(
                    _there(attributed.owners, end), [each.events for each in chunks[metric.feed]], window, end
                ).items()
            }
            for end in (_end(experiment, moment) for moment in ends)
        ]

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

    def _read(
        self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]"
    ) -> "tuple[_Attributed, dict[EventFeed, list[Chunk]]]":
        """Return who has whose events, and the events of each feed; none where nobody takes part."""
        participants = self._participants.current(connection, experiment)
        if not len(participants.user_keys):
            return self._attribute(experiment, participants), {}
        return self._met(experiment, participants, metrics)

    def _met(
        self, experiment: Experiment, participants: Participants, metrics: "Sequence[Metric]"
    ) -> "tuple[_Attributed, dict[EventFeed, list[Chunk]]]":
        """Return the same of people there are, once it is known who the strangers among the events are."""
        with self.scanner.reading(_feeds(metrics), _start(participants, metrics)) as read:
            attributed = self._attribute(experiment, participants)
            chunks = read()
        if self._meets_strangers(experiment, attributed, chunks):
            attributed = self._attribute(experiment, participants)
        return attributed, chunks

    def sums_among(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        among: NDArray[np.int32],
    ) -> dict[tuple[str, int], Sums]:
        """Return the sums of metrics that events feed, over these people alone."""
        participants = self._participants.current(connection, experiment)
        if not len(participants.user_keys):
            return {}
        owners = _owners_among(self._attribute(experiment, participants), among)
        window, end = _window(experiment), experiment.completed_time
        chunks = self.scanner.read(_feeds(metrics), _start(participants, metrics))
        return {
            (metric.name, variant): sums
            for metric in metrics
            if metric.feed is not None
            for variant, sums in sums_of(
                owners, [chunk.events for chunk in chunks[metric.feed]], window, end
            ).items()
        }

    def did(
        self,
        connection: "Connection",
        experiment: Experiment,
        metric: Metric,
        ends: "Sequence[int | None]",
        among: NDArray[np.int32] | None = None,
    ) -> Iterator[Did]:
        """Yield what each participant did of a metric that events feed, before each of these moments.

        In Unix microseconds, None is now; among people, where told. Read once for all.
        """
        assert metric.feed is not None, "asked of metrics that events feed"
        participants = self._participants.current(connection, experiment)
        attributed = self._attribute(experiment, participants)
        owners = attributed.owners if among is None else _owners_among(attributed, among)
        chunks: list[Chunk] = []
        if len(participants.user_keys):
            chunks = self.scanner.read([metric.feed], _start(participants, [metric]))[metric.feed]
        for end in (_end(experiment, moment) for moment in ends):
            events = (chunk.events for chunk in chunks)
            yield fed(_there(owners, end), events, _window(experiment), end, metric.covariate_days or 0)

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
        self, experiment: Experiment, attributed: _Attributed, chunks: "dict[EventFeed, list[Chunk]]"
    ) -> bool:
        """Return whether somebody did events whom we took for unknown there."""
        if (attributed.keys > 0).all():
            return False
        changed = [
            chunk.events.keys
            for feed, each in chunks.items()
            for held in [self._summed.get((experiment.experiment_id, feed))]
            if held is None or not held.is_of(attributed, each, experiment.completed_time)
            for chunk in each
        ]
        owners = attributed.owners.keys
        unknown = [keys[(keys < _FIRST_SESSION_KEY) & ~places(owners, keys)[1]] for keys in changed]
        strangers = np.unique(np.concatenate([np.zeros(0, np.int32), *unknown]))
        return len(strangers) > 0 and self.identities.introduce(attributed.participants.user_keys, strangers)

    def _sum(
        self,
        experiment: Experiment,
        attributed: _Attributed,
        feed: "EventFeed",
        chunks: list[Chunk],
    ) -> dict[int, Sums]:
        events, end = [chunk.events for chunk in chunks], experiment.completed_time
        place = (experiment.experiment_id, feed)
        held = self._summed.get(place)
        if held is None or not held.is_of(attributed, chunks, end):
            sums = sums_of(attributed.owners, events, _window(experiment), end)
            held = self._summed[place] = _Summed(attributed, chunks, end, sums)
        return held.sums


def _window(experiment: Experiment) -> int | None:
    return None if experiment.window_seconds is None else experiment.window_seconds * 1_000_000


def _there(owners: Owners, end: int | None) -> Owners:
    return owners if end is None else owners.before(end)


def _end(experiment: Experiment, moment: int | None) -> int | None:
    """Return up to when events count at a moment: everybody may get the winner after the completion."""
    return min((each for each in (moment, experiment.completed_time) if each is not None), default=None)


def _owners_among(attributed: _Attributed, among: NDArray[np.int32]) -> Owners:
    participants, keys = attributed.participants, attributed.keys
    found = (keys > 0) & np.isin(participants.user_keys, among)
    return owners_of(People(keys[found], participants.variants[found], participants.exposed[found]))


def _feeds(metrics: "Sequence[Metric]") -> "set[EventFeed]":
    return {metric.feed for metric in metrics if metric.feed is not None}


def _start(participants: Participants, metrics: "Sequence[Metric]") -> int:
    """Return from when on events are needed, in Unix microseconds."""
    before = max((metric.covariate_days or 0 for metric in metrics), default=0)
    return max(0, int(participants.exposed.min()) - before * DAY_MICROS)
