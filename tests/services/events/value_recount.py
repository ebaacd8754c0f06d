"""Counts the values of registered properties again, from raw events in plain Python, in one snapshot."""

import json
from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pyroaring import BitMap

from services.events.rollups.deltas import Groups
from tests.services.events.property_events import value_text
from tests.services.events.recount import Slot
from tests.services.events.test_conditions import ABSENT, at

if TYPE_CHECKING:
    import psycopg

_REGISTERED = """
SELECT generation, path, event FROM registered_properties
WHERE NOT is_overfull AND generation IN (SELECT generation FROM property_fills)
"""
_RAW = """
SELECT event, event_key, user_key, event_time, value, properties::text
FROM events JOIN event_types USING (event_key)
"""
_KEYS = "SELECT value_key, generation, event_key, value_text FROM property_values"
_DAYS = "SELECT value_key, day, events, value_sum, user_keys FROM value_days"

# (generation, event key, value, day)
Slots = dict[tuple[int, int, str | None, int], Slot]


def values_recounted(connection: "psycopg.Connection[Any]", zone: str) -> tuple[int, list[str]]:
    """Return how many properties are ready, and every way in which their roll-ups differ from raw events."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        registered = connection.execute(_REGISTERED).fetchall()
        raw = connection.execute(_RAW).fetchall()
        keys = {row[0]: row[1:] for row in connection.execute(_KEYS).fetchall()}
        days = connection.execute(_DAYS).fetchall()
        deltas = [row[0] for row in connection.execute("SELECT payload FROM value_deltas").fetchall()]
    ready = {generation for generation, _, _ in registered}
    expected = _expected(registered, raw, zone)
    found = {name: slot for name, slot in _found(keys, days, deltas).items() if name[0] in ready}
    mismatches = [
        f"{name}: raw {_told(expected.get(name))}, kept {_told(found.get(name))}"
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    ]
    return len(ready), mismatches


def _told(slot: Slot | None) -> str:
    return "nothing" if slot is None else f"{slot.events} events, {slot.value_sum} µ, {sorted(slot.users)}"


def _expected(registered: list[Any], raw: list[Any], zone: str) -> Slots:
    slots: Slots = defaultdict(Slot)
    for event, event_key, user_key, time, value, properties in raw:
        document = (
            None if properties is None else json.loads(properties, parse_float=Decimal, parse_int=Decimal)
        )
        day = (time.astimezone(ZoneInfo(zone)).date() - date(1970, 1, 1)).days
        for generation, path, only in registered:
            if only in {None, event}:
                found = at(document, tuple(path))
                text = None if found is ABSENT else value_text(found)
                slots[generation, event_key, text, day].add(1, value or 0, 0, [user_key])
    return slots


def _found(keys: dict[int, Any], days: list[Any], deltas: list[bytes]) -> Slots:
    slots: Slots = defaultdict(Slot)
    for value_key, day, events, value_sum, users in days:
        slots[(*keys[value_key], day)].add(events, int(value_sum), 0, BitMap.deserialize(users))
    for payload in deltas:
        groups = Groups.unpack(payload)
        columns = (groups.event_keys, groups.days, groups.user_counts, groups.events)
        sums = (groups.value_high, groups.value_low)
        users = groups.user_keys.tolist()
        for value_key, day, number, events, high, low in zip(
            *(column.tolist() for column in (*columns, *sums)), strict=True
        ):
            own, users = users[:number], users[number:]
            if value_key in keys:  # else of a generation that has ended
                slots[(*keys[value_key], day)].add(events, (high << 32) + low, 0, own)
    for slot in slots.values():  # a negative key: who left
        slot.users = {user for user in slot.users if user > 0 and -user not in slot.users}
    return {name: slot for name, slot in slots.items() if slot != Slot()}
