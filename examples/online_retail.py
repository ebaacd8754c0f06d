"""A year of a real shop's invoice lines as events, imported and asked about.

One event for each line of data/online_retail.csv.gz (see data/README.md): `item_returned` where the invoice
begins with C or the quantity is not positive, else `item_purchased`. Run alone, with the suite started:

    BRAIN_TOKEN="$(cat .brain/admin.token)" python -m examples.online_retail --address 127.0.0.1:50051
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import click
from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from brain_client import Brain
from brain_client.event import timestamp
from brain_client.line_ids import line_ids
from brain_client.progress import Tally, bar
from brain_client.upload import Settled, upload
from examples import first_answers

DATA = Path(__file__).parent / "data" / "online_retail.csv.gz"
LINES = 541_909
FIRST_EVENT = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
LAST_EVENT = datetime(2011, 12, 9, 12, 50, tzinfo=UTC)

# Event ids are UUIDv5 of the line number (the first line below the header is 1) in this namespace, so that
# importing again stores nothing twice. It is itself UUIDv5 of the data set's DOI, as a URL.
NAMESPACE = UUID("2be43a6b-2a40-5c9f-a6df-b2245ddfce23")

_PENNY = Decimal("0.01")
_quoted = lru_cache(maxsize=50_000)(json.dumps)


def amount(quantity: int, unit_price: str) -> Decimal:
    """Return quantity times unit price in pounds, rounded to pennies, half to even.

    Only four lines have a price finer than a penny (one piece at 0.001), and none is a tie, so that rounding
    half up gives the same sums: 9,747,747.93 over all lines, 10,644,560.42 over purchases.
    """
    return (quantity * Decimal(unit_price)).quantize(_PENNY, rounding=ROUND_HALF_EVEN)


def events(weeks: int = 0, path: Path = DATA) -> Iterator[tuple[int, Event]]:
    """Yield the number of each line and its event, its time moved by whole weeks."""
    line_id = line_ids(NAMESPACE)
    time_of = _time_reader(timedelta(weeks=weeks))
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        rows = csv.reader(text)
        next(rows)
        for number, (invoice, stock_code, quantity, moment, price, customer, country) in enumerate(rows, 1):
            count, unit_price, value = _numbers(quantity, price)
            returned = count <= 0 or invoice.startswith("C")
            properties = (  # put together from cached parts: a third of the time of json.dumps
                f'{{"order_id":{_quoted(invoice)},"stock_code":{_quoted(stock_code)},"quantity":{count},'
                f'"unit_price_gbp":{unit_price},"country":{_quoted(country)}}}'
            )
            event = Event(
                event_id=line_id(number),
                user_id=customer,
                session_id=invoice,
                event="item_returned" if returned else "item_purchased",
                category="revenue",
                event_time=time_of(moment),
                value=value,
                properties_json=properties,
                page=f"/product/{stock_code}",
            )
            yield number, event


@lru_cache(maxsize=20_000)  # the file has 8,394 pairs
def _numbers(quantity: str, price: str) -> tuple[int, float, float]:
    return int(quantity), float(price), float(amount(int(quantity), price))


def _time_reader(shift: timedelta) -> Callable[[str], Timestamp]:
    @lru_cache(maxsize=30_000)  # the file has 23,260 minutes
    def read(text: str) -> Timestamp:
        return timestamp(datetime.fromisoformat(text).replace(tzinfo=UTC) + shift)

    return read


def weeks_to_last_week(now: datetime) -> int:
    """Return by how many weeks the data must move to end in the calendar week (from Monday) before now."""
    this_monday = (now - timedelta(days=now.weekday())).date()
    last_monday = (LAST_EVENT - timedelta(days=LAST_EVENT.weekday())).date()
    return (this_monday - last_monday).days // 7 - 1


def kept_shift(shift_file: Path, now: datetime) -> int:
    """Return the weeks of the first demo, so that a second one imports the same events again."""
    if shift_file.exists():
        return int(json.loads(shift_file.read_text())["weeks"])
    weeks = weeks_to_last_week(now)
    shift_file.parent.mkdir(parents=True, exist_ok=True)
    shift_file.write_text(json.dumps({"weeks": weeks}) + "\n")
    return weeks


def import_events(brain: Brain, weeks: int, console: Console) -> Tally:
    """Store the events and show how far it is. Raises grpc.RpcError where the server stays away."""
    tally = Tally()
    with bar(console, "Online Retail", LINES) as move:

        def settled(part: Settled) -> None:
            tally.add(part)
            move(tally, part.last_line)

        upload(brain.events, events(weeks), settled)
    return tally


def import_shifted(address: str, token: str, shift_file: Path) -> tuple[datetime, datetime]:
    """Import the data, moved to end last week; return its first and last time. `token` has the role admin."""
    console = Console()
    weeks = kept_shift(shift_file, datetime.now(UTC))
    with Brain(address, token) as brain:
        console.print(str(import_events(brain, weeks, console)))
    return _moved(FIRST_EVENT, weeks), _moved(LAST_EVENT, weeks)


def answer(address: str, token: str, first: datetime, last: datetime) -> None:
    """Print the first answers about data of [first, last]."""
    with Brain(address, token) as brain:
        first_answers.show(brain, Console(), first, last)


def _moved(moment: datetime, weeks: int) -> datetime:
    return moment + timedelta(weeks=weeks)


@click.command()
@click.option("--address", default="127.0.0.1:50051", envvar="BRAIN_ADDRESS", show_default=True)
@click.option("--token", required=True, envvar="BRAIN_TOKEN", help="Needs the role admin.")
@click.option("--shift", is_flag=True, help="Move the data by whole weeks to end last week.")
def main(address: str, token: str, *, shift: bool) -> None:
    """Import the Online Retail data and print the first answers."""
    weeks = weeks_to_last_week(datetime.now(UTC)) if shift else 0
    console = Console()
    with Brain(address, token) as brain:
        console.print(str(import_events(brain, weeks, console)))
        first_answers.show(brain, console, _moved(FIRST_EVENT, weeks), _moved(LAST_EVENT, weeks))


if __name__ == "__main__":
    main()
