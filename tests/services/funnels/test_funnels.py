"""Making, listing and deactivating funnels; bad definitions; step records."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import PropertyFilter
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.refusals import refusal
from tests.services.funnels.asking import (
    MINUTE,
    create,
    equals,
    happened,
    record,
    results,
    span,
    stamp,
    steps,
    track_step,
    users,
)
from tests.services.funnels.conftest import Service


def made(**more: object) -> pb.CreateFunnelRequest:
    request = pb.CreateFunnelRequest(funnel_id="checkout", name="Checkout", steps=steps("AB"))
    request.MergeFrom(pb.CreateFunnelRequest(**more))  # type: ignore[arg-type]
    return request


def test_making_a_funnel_again_returns_it_and_another_is_refused(service: Service) -> None:
    happened(service, "A")
    first = service.funnels.CreateFunnel(made())
    assert first.funnel.active
    assert first.funnel.time_window_minutes == 60
    assert first.funnel.order_mode == pb.ORDER_MODE_ORDERED
    assert [(warning.reason, warning.event) for warning in first.warnings] == [("EVENT_NEVER_SEEN", "B")]
    assert service.funnels.CreateFunnel(made(time_window_minutes=60)) == first
    assert service.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="checkout")).funnel == first.funnel
    refused = refusal(lambda: service.funnels.CreateFunnel(made(time_window_minutes=61)))
    assert refused.reason == "FUNNEL_ALREADY_EXISTS"
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    assert [(each.action, each.subject) for each in entries if each.action != "migrate"] == [
        ("CreateFunnel", "checkout")
    ]


def test_steps_are_kept_in_their_order_whatever_sequence_they_came_in(service: Service) -> None:
    kept = service.funnels.CreateFunnel(made(steps=[pb.FunnelStep(event="C", order=2)])).funnel
    assert [step.event for step in kept.steps] == ["A", "B", "C"]
    backwards = pb.CreateFunnelRequest(name="n", steps=reversed(steps("ABC")))
    assert service.funnels.CreateFunnel(backwards).funnel.steps == kept.steps


def test_funnels_are_listed_by_id_page_by_page(service: Service) -> None:
    for name in ("b", "a", "c"):
        service.funnels.CreateFunnel(made(funnel_id=name))
    service.funnels.DeactivateFunnel(pb.DeactivateFunnelRequest(funnel_id="b"))
    request = pb.ListFunnelsRequest(page_size=2)
    first = service.funnels.ListFunnels(request)
    request.page_token = first.next_page_token
    second = service.funnels.ListFunnels(request)
    assert [each.funnel_id for each in (*first.funnels, *second.funnels)] == ["a", "b", "c"]
    assert not second.next_page_token
    active = service.funnels.ListFunnels(pb.ListFunnelsRequest(active_only=True)).funnels
    assert [each.funnel_id for each in active] == ["a", "c"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"steps": []}, "steps"),
    ({"steps": steps("A")}, "steps"),
    ({"steps": steps("A" * 65)}, "steps"),
    ({"steps": [pb.FunnelStep(event="A", order=0), pb.FunnelStep(event="B", order=2)]}, "steps"),
    ({"steps": [pb.FunnelStep(event="A"), pb.FunnelStep(event="B")]}, "steps"),
    ({"steps": [pb.FunnelStep(order=0), pb.FunnelStep(event="B", order=1)]}, "steps[0].event"),
    ({"steps": [pb.FunnelStep(event="\0"), pb.FunnelStep(event="B", order=1)]}, "steps[0].event"),
    ({"time_window_minutes": -1}, "time_window_minutes"),
    ({"time_window_minutes": 0}, "time_window_minutes"),
    ({"time_window_minutes": 366 * 24 * 60 + 1}, "time_window_minutes"),
    ({"order_mode": 9}, "order_mode"),
    ({"exclusions": [pb.Exclusion(event="X", from_step=1, to_step=1)]}, "exclusions[0].to_step"),
    ({"exclusions": [pb.Exclusion(event="X", from_step=0, to_step=2)]}, "exclusions[0].to_step"),
    ({"exclusions": [pb.Exclusion(event="X", from_step=-1, to_step=1)]}, "exclusions[0].from_step"),
    ({"exclusions": [pb.Exclusion(from_step=0, to_step=1)]}, "exclusions[0].event"),
    (
        {
            "order_mode": pb.ORDER_MODE_UNORDERED,
            "exclusions": [pb.Exclusion(event="X", from_step=0, to_step=1)],
        },
        "exclusions",
    ),
    ({"funnel_id": "a b"}, "funnel_id"),
    ({"name": "x" * 201}, "name"),
]


@pytest.mark.parametrize("optional", [0, 2])
def test_the_first_and_the_last_step_cannot_be_skipped(optional: int, service: Service) -> None:
    bad = steps("ABC")
    bad[optional].optional = True
    refused = refusal(lambda: create(service, "", steps=bad))
    assert set(refused.fields) == {f"steps[{optional}].optional"}


def test_bad_definitions_name_their_fields(service: Service) -> None:
    for fields, at_fault in BAD:
        request = made()
        for field in fields:
            request.ClearField(field)  # type: ignore[arg-type]
        request.MergeFrom(pb.CreateFunnelRequest(**fields))
        refused = refusal(lambda asked=request: service.funnels.CreateFunnel(asked))  # type: ignore[misc]
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(refused.fields) == {at_fault}
    everything = pb.AnalyzeFunnelRequest(
        steps=[
            pb.FunnelStep(event="A", order=0, filters=[PropertyFilter()]),
            pb.FunnelStep(order=1, filters=[equals("a..b", "x")]),
        ],
        order_mode=7,  # type: ignore[arg-type]
        population=7,  # type: ignore[arg-type]
    )
    assert set(refusal(lambda: service.funnels.AnalyzeFunnel(everything)).fields) == {
        "steps[0].filters[0].property",
        "steps[0].filters[0].operator",
        "steps[0].filters[0].values",
        "steps[1].event",
        "steps[1].filters[0].property",
        "order_mode",
        "population",
        "time_range",
    }


def test_64_steps_are_counted_to_the_last(service: Service) -> None:
    letters = "ABCDEFGH" * 8
    happened(service, letters, letters[:-1])
    funnel = create(service, letters, time_window_minutes=1_000)
    assert users(results(service, funnel).steps) == [2] * 63 + [1]


def test_a_funnel_nobody_made_is_not_found(service: Service) -> None:
    for funnel_id in ("nobody", "", "\0"):
        asked = pb.GetFunnelResultsRequest(funnel_id=funnel_id, time_range=span())
        refused = refusal(lambda request=asked: service.funnels.GetFunnelResults(request))  # type: ignore[misc]
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "FUNNEL_UNKNOWN")
    assert refusal(lambda: track_step(service, "nobody", 0, "ann")).code is grpc.StatusCode.NOT_FOUND


def test_a_record_is_stored_once_and_only_by_active_funnels(
    service: Service, start_service: Callable[..., Service]
) -> None:
    funnel = create(service, "AB")
    assert not track_step(service, funnel, 0, "ann", 0).duplicate
    assert track_step(start_service(), funnel, 0, "ann", 0).duplicate
    assert not track_step(service, funnel, 1, "ann", MINUTE).duplicate
    assert users(results(service, funnel).steps) == [1, 1]
    now = track_step(service, funnel, 0, "bob")
    assert now.step_time.seconds == 1_321_000_000
    for _ in range(2):
        kept = service.funnels.DeactivateFunnel(pb.DeactivateFunnelRequest(funnel_id=funnel)).funnel
        assert not kept.active
    refused = refusal(lambda: track_step(service, funnel, 0, "eve", 0))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FUNNEL_INACTIVE")
    assert users(results(service, funnel).steps) == [1, 1]


def test_bad_records_are_rejected_one_by_one(service: Service) -> None:
    funnel = create(service, "AB")
    nobody = pb.StepRecord(funnel_id=funnel, step_time=stamp(0))
    early, unknown_kind = record(funnel, 0, "ann"), record(funnel, 0, "ann", 0)
    early.step_time.CopyFrom(Timestamp(seconds=1))
    unknown_kind.user.kind = 9  # type: ignore[assignment]
    reply = service.funnels.TrackFunnelSteps(
        pb.TrackFunnelStepsRequest(
            steps=[
                record(funnel, 0, "ann", 0),
                record(funnel, 2, "ann", 0),
                record("nobody", 0, "ann", 0),
                nobody,
                early,
                unknown_kind,
                record(funnel, 0, "ann", 0),
            ]
        )
    )
    assert (reply.accepted, reply.duplicates) == (1, 1)
    assert [(each.index, each.field) for each in reply.rejections] == [
        (1, "step"),
        (2, ""),
        (3, "user.id"),
        (3, "user.kind"),
        (4, "step_time"),
        (5, "user.kind"),
    ]
    empty = refusal(lambda: service.funnels.TrackFunnelSteps(pb.TrackFunnelStepsRequest()))
    assert set(empty.fields) == {"steps"}


def test_sessions_and_anonymous_ids_have_records_too(service: Service) -> None:
    funnel = create(service, "AB")
    for number, kind in enumerate((events_pb2.USER_KIND_ANONYMOUS, events_pb2.USER_KIND_SESSION)):
        reference = events_pb2.UserReference(kind=kind, id="same")
        step = pb.StepRecord(funnel_id=funnel, step=0, user=reference, step_time=stamp(number))
        service.funnels.TrackFunnelStep(pb.TrackFunnelStepRequest(step=step))
    assert users(results(service, funnel).steps) == [2, 0]
    assert users(results(service, funnel, population=2).steps) == [1, 0]
    assert users(results(service, funnel, population=3).steps) == [0, 0]
