"""Reads events of feeds from the events service; chunks it sent before are asked for by revision."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2

from services.experiments.results.chunks import Chunk, Chunks, chunk_of
from shared.calendar import DAY_MICROS
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub

    from services.experiments.domain import EventFeed

# Events may be stamped so far ahead.
_AHEAD_MICROS: Final = DAY_MICROS
# Two calls keep two processors busy; the events service bounds how many may stream.
_CALLS_AT_ONCE: Final = 2
_FEEDS_AT_ONCE: Final = 5


@dataclass(frozen=True)
class Scanner:
    """Reads chunks, each as it is now. Safe to share between threads."""

    events: "EventsServiceStub"
    clock: Callable[[], int]
    _chunks: Chunks = field(default_factory=Chunks)

    def read(self, feeds: "Iterable[EventFeed]", start: int) -> "dict[EventFeed, list[Chunk]]":
        """Return the chunks of each feed from a moment on, in Unix microseconds, by day."""
        with self.reading(feeds, start) as read:
            return read()

    @contextmanager
    def reading(
        self, feeds: "Iterable[EventFeed]", start: int
    ) -> "Iterator[Callable[[], dict[EventFeed, list[Chunk]]]]":
        """Begin to read; what comes of it waits for it, so that other things may be done meanwhile."""
        groups = list(_groups(feeds))
        with ThreadPoolExecutor(max(1, min(_CALLS_AT_ONCE, len(groups))), "scan") as pool:
            # In the context of the call: its deadline and its request id hold here, too.
            futures = [pool.submit(copy_context().run, self._scan, group, start) for group in groups]
            yield lambda: _joined(futures)

    def _scan(self, feeds: "list[EventFeed]", start: int) -> "dict[EventFeed, list[Chunk]]":
        named = {feed.event: feed for feed in feeds}
        held = {event: self._chunks.held(feed) for event, feed in named.items()}
        first_day = start // DAY_MICROS
        found: dict[str, dict[int, Chunk]] = {event: {} for event in named}
        request = events_pb2.ScanEventsRequest(
            events=list(named),
            time_range=common_pb2.TimeRange(
                start_time=from_micros(start), end_time=from_micros(self.clock() + _AHEAD_MICROS)
            ),
            filters=map(common_pb2.PropertyFilter.FromString, feeds[0].filters),
            with_value=True,
            known_chunks=[
                events_pb2.KnownChunk(event=event, day=day, revision=chunk.revision)
                for event, by_day in held.items()
                for day, chunk in by_day.items()
                if day >= first_day
            ],
        )
        parts: list[events_pb2.ScanEventsResponse] = []
        for message in self.events.ScanEvents(request):
            parts.append(message)
            if message.partial:
                continue
            known = held[message.event]
            found[message.event][message.day] = known[message.day] if message.unchanged else chunk_of(parts)
            parts = []
        for event, by_day in found.items():
            self._chunks.keep(named[event], by_day, first_day)
        return {
            named[event]: [chunk for _, chunk in sorted(by_day.items())] for event, by_day in found.items()
        }


def _groups(feeds: "Iterable[EventFeed]") -> "Iterator[list[EventFeed]]":
    """Yield feeds that one call may ask for."""
    alike: dict[tuple[bytes, ...], list[EventFeed]] = {}
    for feed in sorted(set(feeds), key=lambda each: each.event):
        alike.setdefault(feed.filters, []).append(feed)
    for group in alike.values():
        for at in range(0, len(group), _FEEDS_AT_ONCE):
            yield group[at : at + _FEEDS_AT_ONCE]


def _joined(
    futures: "Iterable[Future[dict[EventFeed, list[Chunk]]]]",
) -> "dict[EventFeed, list[Chunk]]":
    return {feed: chunks for each in futures for feed, chunks in each.result().items()}
