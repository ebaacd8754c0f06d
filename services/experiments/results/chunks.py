"""Chunks of events as the events service sent them, kept by revision."""

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np

from services.experiments.results.attribution import Events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brain.events.v1 import events_pb2

    from services.experiments.domain import EventFeed

# About 20 bytes each.
_CACHED_EVENTS: Final = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The events of one name and day."""

    revision: int
    events: Events


class Chunks:
    """Chunks by feed and day; where they become too many, only those that came last are kept."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[EventFeed, dict[int, Chunk]] = {}

    def held(self, feed: "EventFeed") -> dict[int, Chunk]:
        """Return what is held of a feed."""
        with self._lock:
            return dict(self._held.get(feed, {}))

    def keep(self, feed: "EventFeed", chunks: dict[int, Chunk], first_day: int) -> None:
        """Hold these of a feed in place of all others from this day on.

        Those before it are of experiments that began earlier.
        """
        with self._lock:
            earlier = {day: each for day, each in self._held.get(feed, {}).items() if day < first_day}
            self._held[feed] = earlier | chunks
            if _rows(self._held) > _CACHED_EVENTS:
                self._held = {feed: chunks} if _rows({feed: chunks}) <= _CACHED_EVENTS else {}


def _rows(held: "Mapping[EventFeed, Mapping[int, Chunk]]") -> int:
    return sum(len(each.events.keys) for by_day in held.values() for each in by_day.values())


def chunk_of(parts: "Sequence[events_pb2.ScanEventsResponse]") -> Chunk:
    """Return the chunk that came in these parts."""
    return Chunk(
        parts[0].revision,
        Events(
            np.frombuffer(b"".join(each.user_keys for each in parts), "<i4"),
            np.frombuffer(b"".join(each.event_times for each in parts), "<i8"),
            np.frombuffer(b"".join(each.values for each in parts), "<i8"),
        ),
    )
