"""Synthetic events: 200,000 users, 40 names of falling frequency, 90 days, about 290 bytes on the wire."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from shared.calendar import DAY_MICROS, MICROS

USERS: Final = 200_000
NAMES: Final = 40
DAYS: Final = 90
PROFILES: Final = 4_096
_SEED: Final = 20_260_101

_WORDS: Final = ("page_viewed", "item_seen", "search_run", "item_added", "video_played", "link_clicked")
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux) Firefox/141.0",
    "ShopApp/4.12.1 (Android 16; Pixel 9)",
    "iOS/19.1",
)
_REFERRERS: Final = ("https://search.example/", "https://news.example/a", "https://mail.example/", "")


@dataclass(frozen=True)
class Columns:
    """Events as columns of equal length.

    users: 0 to USERS - 1; names: 0 to NAMES - 1; times: Unix µs; ids: 16 bytes each, UUIDs of version 4;
    profiles: which of PROFILES combinations of page, referrer, user agent and properties.
    """

    users: NDArray[np.int32]
    names: NDArray[np.int32]
    times: NDArray[np.int64]
    ids: NDArray[np.uint8]
    profiles: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)

    def parts(self, size: int) -> Iterator["Columns"]:
        """Yield the events in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def take(self, rows: slice | NDArray[np.intp]) -> "Columns":
        """Return some of the events."""
        return Columns(
            self.users[rows], self.names[rows], self.times[rows], self.ids[rows], self.profiles[rows]
        )


def spread(count: int, now: int, seed: int = 0) -> Columns:
    """Return events in random order over the UTC day of `now` and the 89 before, none after `now`."""
    start = first_day(now) * DAY_MICROS
    generator = np.random.default_rng((_SEED, seed))
    return _columns(generator.integers(start, now, count), generator)


def recent(count: int, now: int, seed: int = 0) -> Columns:
    """Return events of the last minutes before `now` in the order in which they happened."""
    generator = np.random.default_rng((_SEED, seed))
    return _columns(np.sort(generator.integers(now - 600 * MICROS, now, count)), generator)


def first_day(now: int) -> int:
    """Return the first of the 90 days that end with the UTC day of `now`, since 1970-01-01."""
    return now // DAY_MICROS - DAYS + 1


def with_duplicates(events: Columns, part: float) -> Columns:
    """Return the events, of which a part, at random places, are replaced by earlier ones."""
    generator = np.random.default_rng(_SEED)
    rows = np.arange(len(events))
    again = np.flatnonzero(generator.random(len(events)) < part)
    again = again[again > 0]
    rows[again] = generator.integers(0, again)
    return events.take(rows)


def _columns(times: NDArray[np.int64], generator: np.random.Generator) -> Columns:
    count = len(times)
    weights = 1 / np.arange(1, NAMES + 1) ** 0.9
    ids = np.frombuffer(generator.bytes(16 * count), np.uint8).reshape(count, 16).copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x40  # version
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # variant
    return Columns(
        users=generator.integers(0, USERS, count, np.int32),
        names=np.searchsorted(np.cumsum(weights / weights.sum()), generator.random(count)).astype(np.int32),
        times=times,
        ids=ids,
        profiles=generator.integers(0, PROFILES, count, np.int32),
    )


@dataclass(frozen=True)
class Profile:
    """The texts of an event that do not matter to counts."""

    page: str
    referrer: str
    user_agent: str
    properties_json: str


@cache
def profiles() -> tuple[Profile, ...]:
    """Return PROFILES combinations."""
    generator = np.random.default_rng(_SEED)
    return tuple(_profile(number, generator) for number in range(PROFILES))


def _profile(number: int, generator: np.random.Generator) -> Profile:
    plan = ("free", "team", "enterprise")[generator.integers(3)]
    country = ("DE", "GB", "IN", "US", "JP")[generator.integers(5)]
    amount = int(generator.integers(1, 20_000)) / 100
    return Profile(
        page=f"/shop/{generator.integers(1000, 9999)}",
        referrer=_REFERRERS[number % len(_REFERRERS)],
        user_agent=_AGENTS[number % len(_AGENTS)],
        properties_json=(
            f'{{"plan": "{plan}", "country": "{country}", "amount": {amount}, "quantity": {number % 9},'
            f' "sku": "sku-{number:05d}"}}'
        ),
    )


def name(number: int) -> str:
    """Return the name of an event."""
    return f"{_WORDS[number % len(_WORDS)]}_{number:02d}"


def category(number: int) -> str:
    """Return the category of an event; every tenth name is about money."""
    return "revenue" if number % 10 == 9 else "engagement"


def user_id(number: int) -> str:
    """Return the id of a user."""
    return f"user-{number:06d}"


def session_id(user: int, day: int) -> str:
    """Return the one session that a user has on a day."""
    return f"s{user:06d}-{day:05d}"


def messages(events: Columns) -> Iterator[Event]:
    """Yield the events as messages."""
    texts = profiles()
    names = [(name(number), category(number)) for number in range(NAMES)]
    ids = events.ids.tobytes()
    columns = (events.users, events.names, events.times, events.profiles)
    for row, (user, kind, time, profile) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        text = texts[profile]
        yield Event(
            event_id=str(uuid.UUID(bytes=ids[16 * row : 16 * row + 16])),
            user_id=user_id(user),
            session_id=session_id(user, time // DAY_MICROS),
            event=names[kind][0],
            category=names[kind][1],
            event_time=Timestamp(seconds=time // MICROS, nanos=time % MICROS * 1000),
            value=profile / 100,
            properties_json=text.properties_json,
            page=text.page,
            referrer=text.referrer,
            user_agent=text.user_agent,
        )
