"""The demonstration's experiments, against counts of the data file in plain Python."""

import csv
import gzip
from collections import defaultdict
from decimal import Decimal

import pytest
from brain.experiments.v1 import experiments_pb2 as pb

from examples import online_retail, shop_experiments
from shared.auth import Role, mint_token
from tests.services.experiments.asking import results
from tests.services.experiments.conftest import Service
from tests.services.experiments.conftest import clock as clock  # noqa: PLC0414 - fixtures
from tests.services.experiments.conftest import service as service  # noqa: PLC0414
from tests.services.experiments.conftest import start_service as start_service  # noqa: PLC0414


@pytest.fixture
def fresh() -> None:
    """Looks for changes as seldom as in earnest: one replica alone knows its own at once."""


def counted() -> tuple[dict[str, set[str]], dict[str, Decimal], set[str], set[str]]:
    """Orders and money by customer, who returned something, and who is British, straight from the file."""
    orders: dict[str, set[str]] = defaultdict(set)
    money: dict[str, Decimal] = defaultdict(Decimal)
    returned, british = set(), set()
    with gzip.open(online_retail.DATA, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            customer = row["customer_id"]
            if not customer:
                continue
            if row["invoice_no"].startswith("C") or int(row["quantity"]) <= 0:
                returned.add(customer)
            else:
                orders[customer].add(row["invoice_no"])
                money[customer] += online_retail.amount(int(row["quantity"]), row["unit_price_gbp"])
            if row["country"] == "United Kingdom":
                british.add(customer)
            else:
                british.discard(customer)
            orders.setdefault(customer, set())
    return orders, money, returned, british


def test_what_the_customers_did_counts(service: Service, token_keys: tuple[bytes, bytes]) -> None:
    orders, money, returned, british = counted()
    found = shop_experiments.customers(event for _, event in online_retail.events())
    token = mint_token(token_keys[0], "test", [Role.ADMIN], None, 0)
    address = f"127.0.0.1:{service.application.server.port}"
    shop_experiments.run(address, token, found)
    for key, people, lead in (
        (shop_experiments.EVERYBODY, set(orders), pb.LEADING_METHOD_SEQUENTIAL),
        (shop_experiments.BRITISH, british, pb.LEADING_METHOD_FIXED_HORIZON),
    ):
        told = results(service, key)
        again, revenue, per_order, back = told.metrics
        assert (told.participants, told.leading_method) == (len(people), lead)
        assert not told.sample_ratio.mismatch
        assert sum(each.converted for each in again.variants) == sum(len(orders[one]) > 1 for one in people)
        assert sum(each.converted for each in back.variants) == len(people & returned)
        total = sum((money[one] for one in people), Decimal())
        for metric in (revenue, per_order):
            assert round(sum(each.total_value for each in metric.variants), 2) == float(total)
            number = sum(each.conversions for each in metric.variants)
            assert number == sum(len(orders[one]) for one in people)
    before = results(service, shop_experiments.EVERYBODY)
    shop_experiments.run(address, token, found)
    assert results(service, shop_experiments.EVERYBODY) == before
