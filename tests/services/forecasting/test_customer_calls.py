"""Churn and value over gRPC, from purchases of a real events service."""

from functools import partial

import grpc
import numpy as np
import pytest
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import customers_pb2 as pb
from brain.forecasting.v1 import predictions_pb2

from services.forecasting.customers import predicting
from services.forecasting.customers.contracts import contracts
from services.forecasting.customers.histories import Purchases, daily
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.asking import DAY, TODAY, event, shopping, stamp, track
from tests.services.forecasting.conftest import Service

BOUGHT = pb.PurchaseHistory(events=["bought"])


def buy(events: EventsService, bought: list[tuple[str, int, float]]) -> None:
    track(
        events,
        [
            event("bought", who, TODAY - before * DAY + 9 * 3_600_000_000, amount, category="revenue")
            for who, before, amount in bought
        ],
    )


def expected(bought: list[tuple[str, int, float]]) -> tuple[list[str], Purchases]:
    names = sorted({who for who, _, _ in bought})
    keys = np.array([names.index(who) for who, _, _ in bought])
    times = np.array([TODAY - before * DAY for _, before, _ in bought])
    amounts = np.array([amount for _, _, amount in bought])
    starts = np.arange(TODAY - 300 * DAY, TODAY, DAY)
    return names, daily(Purchases(keys, times, amounts), starts)


def everybody(service: Service, request: pb.PredictChurnRequest) -> dict[str, pb.CustomerChurn]:
    found: dict[str, pb.CustomerChurn] = {}
    while True:
        page = service.forecasting.PredictChurn(request)
        found |= {each.user.id: each for each in page.customers}
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def test_churn_is_what_the_purchases_say(service: Service, events: EventsService) -> None:
    bought = shopping()
    buy(events, bought)
    names, purchases = expected(bought)
    known = predicting.churn(purchases, TODAY, 60)
    request = pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=60, page_size=25)
    first = service.forecasting.PredictChurn(request)
    ratios = [each.churn_ratio for each in first.customers]
    assert ratios == sorted(ratios, reverse=True)
    assert (first.total_customers, len(first.customers)) == (len(names), 25)
    assert first.expected_churned == pytest.approx(known.leaves.sum(), rel=1e-4)
    assert first.model.name == "bg_nbd"
    assert first.model.parameters["r"] == pytest.approx(known.parameters["r"], rel=1e-3)
    assert known.hold_out is not None
    assert first.hold_out.brier == pytest.approx(known.hold_out.brier, rel=1e-4)
    assert sum(each.customers for each in first.hold_out.bins) == known.hold_out.customers
    tenths = [int(min(9, ratio * 10)) for ratio in known.leaves.tolist()]
    assert [band.customers for band in first.bands] == [tenths.count(tenth) for tenth in range(10)]
    found = everybody(service, request)
    for row, key in enumerate(known.keys.tolist()):
        said = found[names[key]]
        assert said.churn_ratio == pytest.approx(known.leaves[row], rel=1e-4)
        mine = {before for who, before, _ in bought if who == names[key]}
        assert said.purchases == len(mine)
        assert said.last_time.ToMicroseconds() == TODAY - min(mine) * DAY
    user = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="c-7")
    [alone] = service.forecasting.PredictChurn(
        pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=60, user=user)
    ).customers
    assert alone == found["c-7"]


def test_value_is_purchases_times_amount(service: Service, events: EventsService) -> None:
    bought = shopping()
    buy(events, bought)
    names, purchases = expected(bought)
    known = predicting.values(purchases, TODAY, 60)
    request = pb.PredictLifetimeValueRequest(purchases=BOUGHT, horizon_days=60, page_size=1_000)
    found = service.forecasting.PredictLifetimeValue(request)
    assert found.expected_value == pytest.approx(known.totals.sum(), rel=1e-4)
    by_name = {each.user.id: each for each in found.customers}
    for row, key in enumerate(known.keys.tolist()):
        said = by_name[names[key]]
        assert said.expected_value == pytest.approx(known.totals[row], rel=1e-4)
        assert said.expected_value == pytest.approx(said.expected_purchases * said.expected_amount)
        spent = sum(amount for who, _, amount in bought if who == names[key])
        assert said.spent == pytest.approx(spent)
    assert sum(band.customers for band in found.bands) == len(names)
    assert sum(band.expected_value for band in found.bands) == pytest.approx(found.expected_value)
    came = sum(
        amount
        for who, before, amount in bought
        if before <= 60 and any(w == who and b > 60 for w, b, _ in bought)
    )
    assert found.hold_out.actual_total == pytest.approx(came)


def test_what_came_of_people_is_found(service: Service, events: EventsService, clock: Clock) -> None:
    bought = shopping()
    buy(events, bought)
    churn = pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=7, save_id="churn")
    value = pb.PredictLifetimeValueRequest(purchases=BOUGHT, horizon_days=7, save_id="value")
    customers = len({who for who, _, _ in bought})
    assert service.forecasting.PredictChurn(churn).saved_predictions == customers
    assert service.forecasting.PredictLifetimeValue(value).saved_predictions == customers
    clock.micros = TODAY + 8 * DAY
    track(
        events, [event("bought", "c-7", TODAY + 3 * DAY, 12.5), event("bought", "c-7", TODAY + 8 * DAY, 99)]
    )
    service.application.actuals.step()
    user = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="c-7")
    everything = service.forecasting.ListPredictions(predictions_pb2.ListPredictionsRequest(page_size=1_000))
    came = {(each.prediction_id.split("/")[0], each.user.id): each.actual for each in everything.predictions}
    assert all(each.HasField("actual") for each in everything.predictions)
    assert (came["churn", "c-7"], came["value", "c-7"]) == (0.0, 12.5)
    assert {value for (kind, who), value in came.items() if kind == "churn" and who != "c-7"} == {1.0}
    selection = predictions_pb2.PredictionSelection(user=user)
    of_one = service.forecasting.ListPredictions(predictions_pb2.ListPredictionsRequest(selection=selection))
    assert len(of_one.predictions) == 2


def test_something_else_is_not_kept_under_the_same_id(service: Service, events: EventsService) -> None:
    buy(events, shopping())
    said = pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=7, page_size=1, save_id="q")
    assert service.forecasting.PredictChurn(said).saved_predictions == 1
    assert service.forecasting.PredictChurn(said).saved_predictions == 0
    further = pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=30, page_size=1, save_id="q")
    value = pb.PredictLifetimeValueRequest(purchases=BOUGHT, horizon_days=7, page_size=1, save_id="q")
    assert refusal(lambda: service.forecasting.PredictChurn(further)).reason == "SAVE_ID_TAKEN"
    assert refusal(lambda: service.forecasting.PredictLifetimeValue(value)).reason == "SAVE_ID_TAKEN"
    people = [events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=f"c-{at}") for at in (9, 10)]
    one, other = (pb.PredictChurnRequest(purchases=BOUGHT, user=each, save_id="one") for each in people)
    assert [service.forecasting.PredictChurn(one).saved_predictions for _ in range(2)] == [1, 0]
    assert refusal(lambda: service.forecasting.PredictChurn(other)).reason == "SAVE_ID_TAKEN"


def test_pages_kept_on_different_days_have_their_own_periods(
    service: Service, events: EventsService, clock: Clock
) -> None:
    buy(events, shopping())
    request = pb.PredictLifetimeValueRequest(purchases=BOUGHT, horizon_days=2, page_size=1, save_id="q")
    first = service.forecasting.PredictLifetimeValue(request).customers[0].user.id
    clock.micros = TODAY + DAY
    request.page_size = 2  # the first is kept already
    second = service.forecasting.PredictLifetimeValue(request).customers[1].user.id
    clock.micros = TODAY + 5 * DAY
    later = [(who, at) for who in {first, second} for at in (0, 2)]
    track(events, [event("bought", who, TODAY + at * DAY, 10.0 + at) for who, at in later])
    service.application.actuals.step()
    listed = service.forecasting.ListPredictions(predictions_pb2.ListPredictionsRequest()).predictions
    # Two days from the day each was said on: what was bought two days later is in the second's alone.
    assert {each.prediction_id: each.actual for each in listed} == {"q/1": 10.0, "q/2": 12.0}


def test_of_those_who_give_back_nothing_is_expected(service: Service, events: EventsService) -> None:
    buy(events, [(who, before, -amount) for who, before, amount in shopping()])
    found = service.forecasting.PredictLifetimeValue(pb.PredictLifetimeValueRequest(purchases=BOUGHT))
    assert {each.expected_amount for each in found.customers} == {0.0}
    assert found.expected_value == 0


def test_contracts_end_as_often_as_they_did(service: Service, events: EventsService) -> None:
    lasting = [30, 60, 60, 90, 120]  # days that ended contracts had lasted
    tracked = [event("subscribed", f"gone-{at}", TODAY - 300 * DAY) for at in range(5)]
    tracked += [
        event("cancelled", f"gone-{at}", TODAY - (300 - days) * DAY) for at, days in enumerate(lasting)
    ]
    tracked += [event("subscribed", f"here-{at}", TODAY - 45 * DAY) for at in range(5)]
    track(events, tracked)
    history = pb.ContractHistory(start_event="subscribed", end_event="cancelled")
    found = service.forecasting.PredictChurn(pb.PredictChurnRequest(contracts=history, horizon_days=30))
    assert found.model.name == "kaplan_meier"
    assert {each.user.id for each in found.customers} == {f"here-{at}" for at in range(5)}
    # Of the four that lasted longer than 45 days, two had ended by day 75.
    assert [each.churn_ratio for each in found.customers] == pytest.approx([0.5] * 5)
    assert not found.customers[0].HasField("alive_ratio")
    assert found.expected_churned == pytest.approx(2.5)


def test_contracts_are_paired_as_by_hand() -> None:
    starts = [(1, 10), (1, 20), (1, 50), (2, 5), (3, 7)]
    ends = [(1, 30), (1, 40), (3, 2), (3, 9), (4, 1)]
    columns = [tuple(np.array(column) for column in zip(*pairs, strict=True)) for pairs in (starts, ends)]
    found = contracts(columns[0], columns[1])  # type: ignore[arg-type]
    lasting = [
        (key, start, end if ended else None)
        for key, start, end, ended in zip(found.keys, found.starts, found.ends, found.ended, strict=True)
    ]
    assert lasting == [(1, 10, 30), (1, 50, None), (2, 5, None), (3, 7, 9)]


def test_data_that_carry_no_model_are_told(service: Service, events: EventsService) -> None:
    request = pb.PredictChurnRequest(purchases=BOUGHT)
    nothing = refusal(lambda: service.forecasting.PredictChurn(request))
    assert (nothing.code, nothing.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_MODEL")
    buy(events, [("a", 30, 5.0), ("b", 20, 6.0)])
    once = refusal(lambda: service.forecasting.PredictChurn(request))
    assert (once.reason, once.message) == ("NO_MODEL", "nobody has bought on two days yet")
    buy(events, [("a", 10, 5.0)])
    user = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="nobody")
    stranger = pb.PredictChurnRequest(purchases=BOUGHT, user=user)
    assert refusal(lambda: service.forecasting.PredictChurn(stranger)).code is grpc.StatusCode.NOT_FOUND
    value = service.forecasting.PredictLifetimeValue(pb.PredictLifetimeValueRequest(purchases=BOUGHT))
    assert "mean amount" in value.warnings[0]
    assert value.customers[0].expected_amount == pytest.approx((5 + 6 + 5) / 3)


BAD = [
    (pb.PredictChurnRequest(), "history"),
    (pb.PredictChurnRequest(purchases=pb.PurchaseHistory()), "purchases.events"),
    (pb.PredictChurnRequest(purchases=pb.PurchaseHistory(events=[""])), "purchases.events[0]"),
    (pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=-1), "horizon_days"),
    (pb.PredictChurnRequest(purchases=BOUGHT, horizon_days=731), "horizon_days"),
    (pb.PredictChurnRequest(purchases=BOUGHT, page_size=-1), "page_size"),
    (pb.PredictChurnRequest(purchases=BOUGHT, page_token="x"), "page_token"),
    (pb.PredictChurnRequest(purchases=BOUGHT, save_id="a b"), "save_id"),
    (pb.PredictChurnRequest(contracts=pb.ContractHistory()), "contracts.start_event"),
    (
        pb.PredictChurnRequest(purchases=pb.PurchaseHistory(events=["b"], start_time=stamp(TODAY + 1))),
        "purchases.start_time",
    ),
    (
        pb.PredictChurnRequest(purchases=pb.PurchaseHistory(events=["b"], as_of_time=stamp(TODAY + 1))),
        "purchases.as_of_time",
    ),
    (
        pb.PredictChurnRequest(
            purchases=pb.PurchaseHistory(events=["b"], as_of_time=stamp(TODAY)), save_id="x"
        ),
        "save_id",
    ),
]


def test_bad_questions_are_refused_by_field(service: Service) -> None:
    for request_, field in BAD:
        refused = refusal(partial(service.forecasting.PredictChurn, request_))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert field in refused.fields


def test_without_events_nothing_is_said_of_customers(alone: Service) -> None:
    refused = refusal(lambda: alone.forecasting.PredictChurn(pb.PredictChurnRequest(purchases=BOUGHT)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EVENTS_UNKNOWN")
