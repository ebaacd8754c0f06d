"""Raw events as they come back, in pages and in columns, beside the lines of the file."""

import json
from collections import Counter
from datetime import UTC, date, datetime
from uuid import UUID, uuid5

import numpy as np
import pytest
from brain.events.v1 import events_pb2 as pb

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import WHOLE, listed, moment, time_range
from tests.services.events.shop.lines import Line

# As examples/data/README.md tells: event ids are UUIDv5 of the line number in the DOI's own namespace.
NAMESPACE = UUID("2be43a6b-2a40-5c9f-a6df-b2245ddfce23")
REGULAR = "14911"  # thousands of lines over the whole year
Row = tuple[str, str, datetime, str, str, str, int, str, str]


def row_of_line(line: Line) -> Row:
    return (
        str(uuid5(NAMESPACE, str(line.number))),
        line.event,
        line.time,
        line.customer,
        line.invoice,
        line.stock_code,
        line.quantity,
        line.country,
        f"{line.pennies / 100}",
    )


def row_of_event(event: pb.Event) -> Row:
    told = json.loads(event.properties_json)
    assert told["order_id"] == event.session_id
    assert event.page == f"/product/{told['stock_code']}"
    assert event.category == "revenue"
    assert round(told["unit_price_gbp"] * told["quantity"], 2) == pytest.approx(event.value, abs=0.0051)
    return (
        event.event_id,
        event.event,
        moment(event.event_time),
        event.user_id,
        event.session_id,
        told["stock_code"],
        told["quantity"],
        told["country"],
        f"{event.value}",
    )


@pytest.mark.parametrize("order", [pb.EVENT_ORDER_NEWEST_FIRST, pb.EVENT_ORDER_OLDEST_FIRST])
def test_a_customer_s_whole_history(folded_shop: Service, order: pb.EventOrder.ValueType) -> None:
    request = pb.QueryEventsRequest(user_id=REGULAR, order=order, page_size=700)
    found = [row_of_event(event) for event in listed(folded_shop, request)]
    expected = [row_of_line(line) for line in lines.lines() if line.customer == REGULAR]
    assert len(expected) > 5_000
    assert Counter(found) == Counter(expected)
    newest_first = order == pb.EVENT_ORDER_NEWEST_FIRST
    # Equal times by event id.
    assert found == sorted(expected, key=lambda row: (row[2], row[0]), reverse=newest_first)


@pytest.mark.parametrize("order", [pb.EVENT_ORDER_UNSPECIFIED, pb.EVENT_ORDER_OLDEST_FIRST])
def test_all_events_of_a_day(folded_shop: Service, order: pb.EventOrder.ValueType) -> None:
    start, end = datetime(2011, 11, 8, tzinfo=UTC), datetime(2011, 11, 9, tzinfo=UTC)
    request = pb.QueryEventsRequest(time_range=time_range(start, end), order=order, page_size=300)
    found = [row_of_event(event) for event in listed(folded_shop, request)]
    expected = [row_of_line(line) for line in lines.lines() if line.time.date() == date(2011, 11, 8)]
    assert Counter(found) == Counter(expected)
    times = [row[2] for row in found]
    assert times == sorted(times, reverse=order == pb.EVENT_ORDER_UNSPECIFIED)


def test_an_invoice_and_an_event_of_it(folded_shop: Service) -> None:
    largest, _ = Counter(line.invoice for line in lines.lines() if not line.customer).most_common(1)[0]
    request = pb.QueryEventsRequest(session_id=largest, events=["item_purchased"], page_size=1_000)
    found = [row_of_event(event) for event in listed(folded_shop, request)]
    expected = [
        row_of_line(line)
        for line in lines.lines()
        if line.invoice == largest and line.event == "item_purchased"
    ]
    assert Counter(found) == Counter(expected)
    assert expected


def test_nobody_has_no_history(folded_shop: Service) -> None:
    for request in (
        pb.QueryEventsRequest(user_id="0"),
        pb.QueryEventsRequest(anonymous_id=REGULAR),
        pb.QueryEventsRequest(user_id=REGULAR, category="other"),
    ):
        answer = folded_shop.events.QueryEvents(request)
        assert (list(answer.events), answer.next_page_token) == ([], "")


def test_columns_hold_every_line(folded_shop: Service) -> None:
    found: Counter[tuple[str, str, int, int, str]] = Counter()
    names = everybody(folded_shop)
    request = pb.ScanEventsRequest(
        events=["item_purchased", "item_returned"],
        time_range=WHOLE,
        with_value=True,
        properties=["country"],
    )
    for message in folded_shop.events.ScanEvents(request):
        [countries] = message.properties
        dictionary = [json.loads(text) for text in countries.dictionary_json]
        columns = [
            np.frombuffer(packed, kind).tolist()
            for packed, kind in (
                (message.user_keys, "<i4"),
                (message.event_times, "<i8"),
                (message.values, "<i8"),
                (countries.codes, "<i4"),
            )
        ]
        found.update(
            (message.event, names[key], time, value, dictionary[code])
            for key, time, value, code in zip(*columns, strict=True)
        )
    expected = Counter(
        (
            line.event,
            line.customer or f"session {line.invoice}",
            int(line.time.timestamp()) * 1_000_000,
            line.pennies * 10_000,
            line.country,
        )
        for line in lines.lines()
    )
    assert found == expected


def everybody(service: Service) -> dict[int, str]:
    """Resolve everybody: ids to keys, then all keys back to ids."""
    customers = {line.customer for line in lines.lines() if line.customer}
    users = [pb.UserReference(kind=pb.USER_KIND_USER, id=customer) for customer in sorted(customers)]
    invoices = sorted({line.invoice for line in lines.lines() if not line.customer})
    users += [pb.UserReference(kind=pb.USER_KIND_SESSION, id=invoice) for invoice in invoices]
    users.append(pb.UserReference(kind=pb.USER_KIND_ANONYMOUS, id=REGULAR))  # unknown
    resolved = service.events.ResolveUsers(pb.ResolveUsersRequest(users=users)).users
    assert [each.user for each in resolved] == users[:-1]
    keys = [each.user_key for each in resolved]
    assert len(set(keys)) == 8_082
    assert all(
        (key < 2**30) == (each.user.kind == pb.USER_KIND_USER)
        for key, each in zip(keys, resolved, strict=True)
    )
    back = service.events.ResolveUsers(pb.ResolveUsersRequest(user_keys=[*keys, 5_000_000])).users
    assert list(back) == list(resolved)
    return {
        each.user_key: each.user.id if each.user.kind == pb.USER_KIND_USER else f"session {each.user.id}"
        for each in resolved
    }


def test_revisions_are_the_same_whatever_is_folded(
    pending_shop: Service, half_folded_shop: Service, folded_shop: Service
) -> None:
    request = pb.ScanEventsRequest(
        events=["item_returned"],
        time_range=time_range(datetime(2011, 11, 1, tzinfo=UTC), datetime(2011, 12, 1, tzinfo=UTC)),
    )
    first, *others = (
        [(each.day, each.revision, each.row_count) for each in service.events.ScanEvents(request)]
        for service in (pending_shop, half_folded_shop, folded_shop)
    )
    assert first
    assert others == [first, first]
