"""Counts raw events again, in plain Python, and compares with the roll-ups of the same snapshot.

Written from the definitions, not from the code under test: of that only the packing of deltas and bitmaps is
used, to read them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from services.events.rollups.deltas import Groups

if TYPE_CHECKING:
    import psycopg

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_ANONYMOUS, FIRST_SESSION = 2**29, 2**30
MASK = 2**64 - 1

_RAW = """
SELECT event_key, user_key, (extract(epoch FROM event_time) * 1000000)::int8, event_id::text, value
FROM events
"""
_HOURS = """
SELECT event_key, hour, events, value_sum, revision, known, people, actors, user_keys FROM event_hours
"""
_DAYS = "SELECT event_key, day, events, value_sum, 0, known, people, actors, user_keys FROM event_days"
_ORPHANS = """
SELECT count(*) FROM events WHERE NOT EXISTS (SELECT FROM users WHERE users.user_key = events.user_key)
"""


@dataclass
class Slot:
    """What is known of one event in one hour or day."""

    events: int = 0
    value_sum: int = 0
    revision: int = 0
    users: set[int] = field(default_factory=set)

    def add(self, events: int, value_sum: int, revision: int, users: Iterable[int]) -> None:
        self.events += events
        self.value_sum += value_sum
        self.revision = (self.revision + revision) & MASK
        self.users.update(users)


Slots = dict[tuple[int, int], Slot]


@dataclass(frozen=True)
class Recount:
    """How many events there are, and every way in which the roll-ups differ from them."""

    events: int
    deltas: int
    mismatches: list[str]


def mix(word: int) -> int:
    """SplitMix64's finaliser, after adding its gamma."""
    word = (word + 0x9E3779B97F4A7C15) & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


@lru_cache(maxsize=100_000)
def share(user_key: int, micros: int, event_id: str) -> int:
    """Return mix64(user_key, event_time, event_id)."""
    number = int(event_id.replace("-", ""), 16)
    mixed = 0
    for word in (user_key, micros & MASK, number >> 64, number & MASK):
        mixed = mix(mixed ^ word)
    return mixed


@lru_cache(maxsize=100_000)
def hour_and_day(micros: int, zone: str) -> tuple[int, int]:
    """Return the UTC hour and the local day of an instant, both since 1970-01-01."""
    moment = EPOCH + timedelta(microseconds=micros)
    local = moment.astimezone(ZoneInfo(zone)).date()
    return micros // 3_600_000_000, (local - date(1970, 1, 1)).days


def recount(connection: "psycopg.Connection[Any]", zone: str) -> Recount:
    """Compare raw events with base and deltas, in one snapshot. The connection is in autocommit mode."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        raw = connection.execute(_RAW).fetchall()
        [orphans] = connection.execute(_ORPHANS).fetchone() or (0,)
        hours = connection.execute(_HOURS).fetchall()
        days = connection.execute(_DAYS).fetchall()
        deltas = [row[0] for row in connection.execute("SELECT payload FROM event_deltas").fetchall()]
    mismatches = [f"{orphans} events of nobody"] if orphans else []
    for name, base, slot_of in (
        ("hour", hours, lambda groups: groups.hours),
        ("day", days, lambda groups: groups.days),
    ):
        found = _base(base, name, mismatches)
        _check_totals(found, name, mismatches)
        _add_deltas(found, deltas, slot_of, with_revision=name == "hour")
        _compare(_expected(raw, zone, name), found, name, mismatches)
    return Recount(len(raw), len(deltas), mismatches)


def _expected(raw: list[Any], zone: str, name: str) -> Slots:
    slots: Slots = defaultdict(Slot)
    for event_key, user_key, micros, event_id, value in raw:
        hour, day = hour_and_day(micros, zone)
        slot = slots[event_key, hour if name == "hour" else day]
        slot.events += 1
        slot.value_sum += value or 0
        slot.users.add(user_key)
        if name == "hour":
            slot.revision = (slot.revision + share(user_key, micros, event_id)) & MASK
    return slots


def _base(rows: list[Any], name: str, mismatches: list[str]) -> Slots:
    slots: Slots = {}
    for event_key, slot, events, value_sum, revision, *counts, packed in rows:
        users = set(BitMap.deserialize(packed))
        slots[event_key, slot] = Slot(events, int(value_sum), revision & MASK, users)
        cut = [sum(key < bound for key in users) for bound in (FIRST_ANONYMOUS, FIRST_SESSION, 2**31)]
        if counts != cut:
            mismatches.append(f"{name} {slot} of {event_key} says {counts} people, its set says {cut}")
    return slots


def _check_totals(base: Slots, name: str, mismatches: list[str]) -> None:
    """Take out key 0, any event, which must be the sum of the others."""
    sums: Slots = defaultdict(Slot)
    for (event_key, slot), each in base.items():
        if event_key:
            sums[0, slot].add(each.events, each.value_sum, each.revision, each.users)
    _compare(sums, {key: base.pop(key) for key in list(base) if not key[0]}, f"total of {name}", mismatches)


def _add_deltas(
    slots: Slots, payloads: list[bytes], slot_of: Callable[[Groups], Any], *, with_revision: bool
) -> None:
    left: dict[tuple[int, int], set[int]] = defaultdict(set)  # who has no events there any more
    for payload in payloads:
        groups = Groups.unpack(payload)
        columns = (groups.event_keys, slot_of(groups), groups.user_counts, groups.events)
        values = (groups.value_high, groups.value_low, groups.revisions)
        users = groups.user_keys.tolist()
        for event_key, slot, count, events, high, low, revision in zip(
            *(column.tolist() for column in (*columns, *values)), strict=True
        ):
            own, users = users[:count], users[count:]
            found = slots.setdefault((event_key, slot), Slot())
            found.add(
                events, (high << 32) + low, revision if with_revision else 0, (key for key in own if key > 0)
            )
            left[event_key, slot].update(-key for key in own if key < 0)
    for name, keys in left.items():
        slots[name].users -= keys
        if not slots[name].events:
            del slots[name]


def _compare(expected: Slots, found: Slots, name: str, mismatches: list[str]) -> None:
    for key in sorted(expected.keys() | found.keys()):
        want, have = expected.get(key), found.get(key)
        if want != have:
            mismatches.append(
                f"{name} {key[1]} of event type {key[0]}: raw {_told(want)}, kept {_told(have)}"
            )


def _told(slot: Slot | None) -> str:
    if slot is None:
        return "nothing"
    return f"{slot.events} events, {slot.value_sum} µ, {len(slot.users)} actors, revision {slot.revision:x}"
