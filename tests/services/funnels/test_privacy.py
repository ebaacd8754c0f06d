"""What is held of people is found, and goes away for good."""

import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from brain.events.v1 import events_pb2, identity_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from shared.database import create_engine
from tests.refusals import refusal
from tests.services.funnels.asking import MINUTE, create, record, results, stamp, track_step, user, users
from tests.services.funnels.conftest import Service

ERASE, ANONYMIZE = privacy_pb2.ERASURE_MODE_ERASE, privacy_pb2.ERASURE_MODE_ANONYMIZE


def export(service: Service, name: str) -> list[dict[str, object]]:
    asked = privacy_pb2.ExportUserRequest(user=user(name))
    return [json.loads(line) for part in service.privacy.ExportUser(asked) for line in part.json_lines]


def erase(service: Service, name: str, mode: "privacy_pb2.ErasureMode.ValueType" = ERASE) -> dict[str, int]:
    reply = service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=user(name), mode=mode))
    return {each.table: each.rows for each in reply.touched_tables}


@pytest.fixture
def funnel(service: Service) -> str:
    """Ann has records under two ids, bob under one."""
    made = create(service, "AB")
    for name in ("ann", "bob"):
        track_step(service, made, 0, name, 0)
    service.events.events.LinkUser(identity_pb2.LinkUserRequest(user_id="ann", anonymous_id="device"))
    reference = events_pb2.UserReference(kind=events_pb2.USER_KIND_ANONYMOUS, id="device")
    step = pb.StepRecord(funnel_id=made, step=1, user=reference, step_time=stamp(MINUTE))
    service.funnels.TrackFunnelStep(pb.TrackFunnelStepRequest(step=step))
    return made


def test_an_export_has_all_ids_and_records_and_is_empty_for_strangers(service: Service, funnel: str) -> None:
    lines = export(service, "ann")
    assert [(line["kind"], line["id"]) for line in lines if line["table"] == "users"] == [
        ("user", "ann"),
        ("anonymous", "device"),
    ]
    records = [(line["funnel_id"], line["step"]) for line in lines if line["table"] == "step_records"]
    assert records == [(funnel, 0), (funnel, 1)]
    assert export(service, "nobody") == []


def test_erased_people_are_gone_and_late_records_refused(
    service: Service, funnel: str, funnels_database: str
) -> None:
    assert users(results(service, funnel).steps) == [2, 1]
    assert erase(service, "ann") == {"users": 2, "step_records": 2, "tombstones": 2}
    assert users(results(service, funnel).steps) == [1, 0]
    assert [line["table"] for line in export(service, "ann")] == ["tombstones"]
    refused = refusal(lambda: track_step(service, funnel, 0, "ann", 0))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "USER_ERASED")
    reply = service.funnels.TrackFunnelSteps(
        pb.TrackFunnelStepsRequest(steps=[record(funnel, 0, "ann", 5), record(funnel, 0, "eve", 5)])
    )
    assert reply.accepted == 1
    assert [(each.index, each.reason[:6]) for each in reply.rejections] == [(0, "erased")]
    engine = create_engine(funnels_database, schema="funnels", pool_size=1, application_name="test")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == 2  # bob, eve
    engine.dispose()


def test_anonymised_records_count_for_nobody_anyone_knows(service: Service, funnel: str) -> None:
    assert erase(service, "bob", ANONYMIZE)["step_records"] == 1
    assert users(results(service, funnel).steps) == [2, 1]
    assert [line["table"] for line in export(service, "bob")] == ["tombstones"]


def test_a_restored_database_is_told_of_erasures(
    service: Service, funnel: str, start_service: Callable[..., Service], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journalling = start_service(erasure_journal=journal)
    erase(journalling, "nobody")
    told = service.privacy.ListTombstones(privacy_pb2.ListTombstonesRequest()).tombstones
    assert len(told) == 1
    again = privacy_pb2.ApplyTombstonesRequest(tombstones=told)
    assert service.privacy.ApplyTombstones(again).applied == 0
    lines = [json.loads(line) for line in journal.read_text().splitlines() if line]
    assert [line["who_digest"] for line in lines] == [told[0].who_digest.hex()]
    erase(service, "bob")
    [bob] = [
        each
        for each in service.privacy.ListTombstones(privacy_pb2.ListTombstonesRequest()).tombstones
        if each != told[0]
    ]
    later = bob.erased_time.seconds + 1
    track_step(service, funnel, 0, "bob", later - 1_320_364_800)
    bob.erased_time.seconds = later
    reply = service.privacy.ApplyTombstones(privacy_pb2.ApplyTombstonesRequest(tombstones=[bob]))
    assert (reply.applied, reply.erased_ids) == (1, 1)
    assert users(results(service, funnel).steps) == [1, 1]
