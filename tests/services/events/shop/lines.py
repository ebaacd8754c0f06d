"""The shop's invoice lines, read from the file and counted here by rules of their own.

Nothing of the code under test, nor of the example that imports the file, is used.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

FILE = Path(__file__).parents[4] / "examples" / "data" / "online_retail.csv.gz"
PENNY = Decimal("0.01")

Key = TypeVar("Key")


class Line(NamedTuple):
    """An invoice line."""

    number: int
    time: datetime
    invoice: str
    customer: str
    event: str
    pennies: int
    stock_code: str
    quantity: int
    country: str


class Visit(NamedTuple):
    """Lines of one actor at one time under one event: their number and the sum of their pennies."""

    time: datetime
    customer: str
    invoice: str
    event: str
    lines: int
    pennies: int

    @property
    def actor(self) -> tuple[str, str]:
        """The customer, or the invoice of one without."""
        return ("user", self.customer) if self.customer else ("session", self.invoice)


@dataclass
class Count:
    """Events, different people and the sum of the values, as an answer holds them."""

    events: int = 0
    users: int = 0
    value_sum: float = 0.0


@cache
def lines() -> list[Line]:
    """Read the file."""
    moment, pennies = cache(_moment), cache(_pennies)
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as text:
        rows = csv.reader(text)
        next(rows)
        return [
            Line(
                number,
                moment(time),
                invoice,
                customer,
                "item_returned" if invoice.startswith("C") or int(quantity) <= 0 else "item_purchased",
                pennies(quantity, price),
                stock_code,
                int(quantity),
                country,
            )
            for number, (invoice, stock_code, quantity, time, price, customer, country) in enumerate(rows, 1)
        ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _pennies(quantity: str, price: str) -> int:
    amount = (int(quantity) * Decimal(price)).quantize(PENNY, rounding=ROUND_HALF_EVEN)
    return int(amount * 100)


@cache
def visits() -> list[Visit]:
    """Lines put together, so that counting is quick."""
    sums: dict[tuple[datetime, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for line in lines():
        both = sums[line.time, line.customer, line.invoice, line.event]
        both[0] += 1
        both[1] += line.pennies
    return [Visit(*key, number, pennies) for key, (number, pennies) in sums.items()]


def count(found: Iterable[Visit], *, sessions: bool = False) -> Count:
    """Count events, people (or actors) and pounds."""
    events = pennies = 0
    people = set()
    for visit in found:
        events += visit.lines
        pennies += visit.pennies
        if visit.customer or sessions:
            people.add(visit.actor)
    return Count(events, len(people), pennies / 100)


def counted_by(
    key_of: Callable[[Visit], Key], found: Iterable[Visit] | None = None, *, sessions: bool = False
) -> dict[Key, Count]:
    """Count the visits of each key."""
    groups: dict[Key, list[Visit]] = defaultdict(list)
    for visit in visits() if found is None else found:
        groups[key_of(visit)].append(visit)
    return {key: count(group, sessions=sessions) for key, group in groups.items()}


@cache
def between(start: datetime, end: datetime) -> list[Visit]:
    """Return the visits in [start, end)."""
    return [visit for visit in visits() if start <= visit.time < end]


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """Return the date on a wall calendar."""
    return moment.astimezone(zone).date()


@cache
def people_by_day(zone: ZoneInfo) -> dict[date, set[str]]:
    """Return who bought or returned something on each local day."""
    days: dict[date, set[str]] = defaultdict(set)
    for visit in visits():
        if visit.customer:
            days[local_day(visit.time, zone)].add(visit.customer)
    return days


def people_of_days(people: dict[date, set[str]], last: date, number: int) -> int:
    """Count the people of so many days, the last one included."""
    return len(set().union(*(people.get(last - timedelta(days=back), set()) for back in range(number))))
