import csv
import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from uuid import uuid5

import pytest
from brain.events.v1.events_pb2 import Event

from examples import online_retail


@dataclass
class Recount:
    """What a second, plain reading of the file finds, line by line beside the events."""

    lines: int = 0
    pennies: int = 0
    purchased_pennies: int = 0
    finer_than_pennies: int = 0
    ids: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    actors: set[str] = field(default_factory=set)
    orders: set[str] = field(default_factory=set)
    differing: Counter[str] = field(default_factory=Counter)  # lines, by what is not as in the file

    def add(self, row: dict[str, str], event: Event) -> None:
        self.lines += 1
        thousandths = int(row["quantity"]) * int(Decimal(row["unit_price_gbp"]) * 1_000)
        self.finer_than_pennies += thousandths % 10
        pennies = thousandths // 10  # the finer ones are 0.001, which is no penny
        returned = row["invoice_no"][0] == "C" or row["quantity"][0] in "-0"
        self.pennies += pennies
        self.purchased_pennies += 0 if returned else pennies
        self.ids.add(event.event_id)
        self.people.add(row["customer_id"])
        self.actors.add(row["customer_id"] or row["invoice_no"])
        self.orders.add(row["invoice_no"])
        name = "item_returned" if returned else "item_purchased"
        told = event.event_time.ToDatetime().isoformat(sep=" ")
        self.differing["user"] += event.user_id != row["customer_id"]
        self.differing["session"] += event.session_id != row["invoice_no"]
        self.differing["event"] += event.event != name
        self.differing["category"] += event.category != "revenue"
        self.differing["time"] += told != row["invoice_time"]
        self.differing["value"] += event.value != pennies / 100
        self.differing["page"] += event.page != f"/product/{row['stock_code']}"
        self.differing["properties"] += json.loads(event.properties_json) != {
            "order_id": row["invoice_no"],
            "stock_code": row["stock_code"],
            "quantity": int(row["quantity"]),
            "unit_price_gbp": float(row["unit_price_gbp"]),
            "country": row["country"],
        }


@pytest.fixture(scope="module")
def recount() -> Recount:
    counted = Recount()
    with gzip.open(online_retail.DATA, "rt", encoding="utf-8") as text:
        for row, (_, event) in zip(csv.DictReader(text), online_retail.events(), strict=True):
            counted.add(row, event)
    return counted


def test_every_line_becomes_the_event_it_should(recount: Recount) -> None:
    assert recount.lines == len(recount.ids) == online_retail.LINES == 541_909
    assert +recount.differing == Counter()
    assert len(recount.differing) == 8


def test_people_actors_and_orders_are_counted(recount: Recount) -> None:
    assert len(recount.people - {""}) == 4_372
    assert len(recount.actors) == 8_082
    assert len(recount.orders) == 25_900


def test_values_add_up_to_the_penny(recount: Recount) -> None:
    assert recount.pennies == 974_774_793
    assert recount.purchased_pennies == 1_064_456_042
    assert recount.finer_than_pennies == 4


def test_ids_are_made_of_line_numbers() -> None:
    made = [event.event_id for _, event in islice(online_retail.events(), 100)]
    assert made == [str(uuid5(online_retail.NAMESPACE, str(number))) for number in range(1, 101)]


def test_the_times_of_the_first_and_last_event_are_known() -> None:
    with gzip.open(online_retail.DATA, "rt", encoding="utf-8") as text:
        times = [row["invoice_time"] for row in csv.DictReader(text)]
    assert min(times) == f"{online_retail.FIRST_EVENT:%Y-%m-%d %H:%M:%S}"
    assert max(times) == f"{online_retail.LAST_EVENT:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize("day", range(1, 15))
def test_the_shifted_data_end_on_the_friday_of_last_week(day: int) -> None:
    now = datetime(2026, 6, day, 3, tzinfo=UTC)
    last = online_retail.LAST_EVENT + timedelta(weeks=online_retail.weeks_to_last_week(now))
    assert last.weekday() == online_retail.LAST_EVENT.weekday()
    assert last.isocalendar()[:2] == (now - timedelta(weeks=1)).isocalendar()[:2]


def test_the_shift_of_the_first_demo_is_kept(scratch_directory: Path) -> None:
    shift_file = scratch_directory / "shift" / "demo.json"
    first = online_retail.kept_shift(shift_file, datetime(2026, 6, 1, tzinfo=UTC))
    assert online_retail.kept_shift(shift_file, datetime(2027, 6, 1, tzinfo=UTC)) == first


def test_a_shift_moves_every_event_by_whole_weeks() -> None:
    pairs = zip(online_retail.events(), online_retail.events(weeks=700), strict=True)
    assert {
        after.event_time.seconds - before.event_time.seconds
        for (_, before), (_, after) in islice(pairs, 1_000)
    } == {700 * 7 * 86_400}
