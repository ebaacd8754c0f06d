"""Events with all sorts of properties, and what plain Python says of them: the oracle of properties."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brain.events.v1.events_pb2 import Event

from tests.services.events.test_conditions import ABSENT, at

# Around the end of summer time in Europe (2011-10-30 01:00 UTC) and days of zones with half hours.
FIRST_SECOND = 1_319_500_800  # 2011-10-25 00:00:00 UTC
SECONDS = 8 * 86_400
NAMES = (("viewed", ""), ("viewed", "revenue"), ("bought", "revenue"), ("shared", ""))
# JSON texts at "plan": every type, and numbers that are equal and look different.
PLANS = ["6", "6.0", "6.50", "1e3", "-0", "-0.0", "true", "false", "null", '"6"', '"true"', '""']
PLANS += ['"gold"', '"gold"', '"gold"', '"Gold"', '"gol"', '"\\u00e9"', '"é\U0001f600"', '"a\\"b\\u0007"']
PLANS += ['[1, "gold"]', '["gold"]', '{"b": 6}', '{"bb":1,"a":[2,{"c":"gold"}]}', "[]", "{}"]
PLANS += ["12345678901234567890123", "9007199254740993"]


@dataclass(frozen=True)
class Sent:
    """An event, its time in Unix µs, and its properties with numbers as they were written."""

    event: Event
    micros: int
    document: Any

    @property
    def who(self) -> tuple[str, str]:
        kinds = ("user_id", "anonymous_id", "session_id")
        return next((kind, getattr(self.event, kind)) for kind in kinds if getattr(self.event, kind))

    @property
    def is_person(self) -> bool:
        return self.who[0] != "session_id"


def sent_events(seed: int, number: int) -> list[Sent]:
    """Return random events, always the same for a seed."""
    chance = random.Random(seed)
    return [_sent(chance, seed, position) for position in range(number)]


def _sent(chance: random.Random, seed: int, position: int) -> Sent:
    name, category = chance.choice(NAMES)
    kind = chance.choice(["user_id", "user_id", "anonymous_id", "session_id"])
    event = Event(event_id=f"{seed}-{position}", event=name, category=category, session_id="s")
    setattr(event, kind, f"{kind}-{chance.randrange(12)}")
    micros = FIRST_SECOND * 1_000_000 + chance.randrange(SECONDS * 1_000_000)
    event.event_time.FromMicroseconds(micros)
    if chance.random() < 0.7:
        event.value = chance.randrange(-500, 2_000) / 100
    text = _properties(chance)
    if text is not None:
        event.properties_json = text
    return Sent(event, micros, None if text is None else exactly(text))


def _properties(chance: random.Random) -> str | None:
    draw = chance.random()
    if draw < 0.1:
        return None
    parts = []
    if draw < 0.9:
        parts.append(f'"plan":{chance.choice(PLANS)}')
    if chance.random() < 0.8:
        city = chance.choice(['"Oslo"', '"Rome"', "7", '{"name": "Oslo"}', '["Oslo", "Rome"]', "null"])
        parts.append(f'"address": {{"city": {city}}}' if chance.random() < 0.8 else f'"address": {city}')
    chance.shuffle(parts)
    return "{" + ", ".join(parts) + "}"


def exactly(text: str) -> Any:  # noqa: ANN401 - JSON
    """Read JSON with numbers as Decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def as_text(value: Any) -> str:  # noqa: ANN401 - JSON
    """Write JSON as PostgreSQL does: numbers without exponent, shorter keys first, a blank behind , and :."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text[1:] if value == 0 and text.startswith("-") else text
    if isinstance(value, list):
        return "[" + ", ".join(map(as_text, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{as_text(key)}: {as_text(value[key])}" for key in keys) + "}"
    return json.dumps(value, ensure_ascii=False)


def value_text(value: Any) -> str:  # noqa: ANN401 - JSON
    """Write a value as a group's: numbers that are equal alike."""
    text = as_text(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in text else text


def group_of(sent: Sent, dotted: str) -> str | None:
    value = at(sent.document, tuple(dotted.split(".")))
    return None if value is ABSENT else value_text(value)


def by_group(sent: Iterable[Sent], dotted: str) -> dict[str | None, list[Sent]]:
    groups: dict[str | None, list[Sent]] = {}
    for each in sent:
        groups.setdefault(group_of(each, dotted), []).append(each)
    return groups


def within(sent: Iterable[Sent], start: int, end: int) -> list[Sent]:
    return [each for each in sent if start <= each.micros < end]


def people(sent: Iterable[Sent]) -> int:
    return len({each.who for each in sent if each.is_person})


def value_sum(sent: Iterable[Sent]) -> float:
    cents = sum(round(each.event.value * 100) for each in sent if each.event.HasField("value"))
    return cents / 100


def ranked(
    groups: dict[str | None, list[Sent]], total: Callable[[list[Sent]], int]
) -> Iterator[tuple[str | None, list[Sent]]]:
    """Yield groups by falling total, then by text, without the property last."""
    last = "\U0010ffff"
    key = sorted(groups, key=lambda group: (-total(groups[group]), last if group is None else group))
    return ((group, groups[group]) for group in key)
