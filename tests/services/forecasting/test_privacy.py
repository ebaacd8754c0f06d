"""What was predicted of people goes out and away."""

import json

import grpc
import pytest
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import predictions_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.forecasting.asking import DAY, TODAY
from tests.services.forecasting.conftest import Service
from tests.services.forecasting.test_predictions import listed, period, prediction, save

ANN = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="ann@example.org")
BOB = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="bob")
ERASE, ANONYMIZE = privacy_pb2.ERASURE_MODE_ERASE, privacy_pb2.ERASURE_MODE_ANONYMIZE


def predictions(service: Service) -> None:
    for name, user in (("a-1", ANN), ("a-2", ANN), ("b-1", BOB)):
        save(service, prediction(name, user=user))
    service.forecasting.RecordActual(pb.RecordActualRequest(prediction_id="a-1", actual=40))


def erase(service: Service, mode: "privacy_pb2.ErasureMode.ValueType") -> dict[str, int]:
    reply = service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=ANN, mode=mode))
    return {each.table: each.rows for each in reply.touched_tables}


def exported(service: Service) -> list[dict[str, object]]:
    stream = service.privacy.ExportUser(privacy_pb2.ExportUserRequest(user=ANN))
    return [json.loads(line) for reply in stream for line in reply.json_lines]


def test_everything_predicted_of_somebody_is_exported(alone: Service) -> None:
    assert exported(alone) == []
    predictions(alone)
    user, *others = exported(alone)
    assert (user["table"], user["kind"], user["id"]) == ("users", "user", "ann@example.org")
    assert {(each["prediction_id"], each["actual"]) for each in others} == {("a-1", 40.0), ("a-2", None)}


def test_erasing_leaves_nothing_but_a_tombstone(alone: Service, clock: Clock) -> None:
    predictions(alone)
    assert erase(alone, ERASE) == {"actuals": 1, "predictions": 2, "users": 1, "tombstones": 1}
    assert [each.prediction_id for each in listed(alone)] == ["b-1"]
    assert [each["table"] for each in exported(alone)] == ["tombstones"]
    clock.micros += 1
    erase(alone, ERASE)
    late = refusal(lambda: save(alone, prediction("a-1", user=ANN)))
    assert (late.code, late.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "USER_ERASED")
    save(alone, prediction("a-3", user=ANN, period=period(TODAY + DAY)))  # a new person


def test_anonymising_keeps_how_good_predictions_were(alone: Service) -> None:
    predictions(alone)
    accuracy = pb.GetPredictionAccuracyRequest()
    before = alone.forecasting.GetPredictionAccuracy(accuracy)
    assert erase(alone, ANONYMIZE) == {"actuals": 0, "predictions": 2, "users": 1, "tombstones": 1}
    assert alone.forecasting.GetPredictionAccuracy(accuracy) == before
    left = [each for each in listed(alone) if each.prediction_id != "b-1"]
    assert len(left) == 2
    assert not any(each.HasField("user") or "a-" in each.prediction_id[:2] for each in left)


@pytest.mark.parametrize("mode", [ERASE, ANONYMIZE])
def test_a_restored_database_forgets_again(alone: Service, mode: "privacy_pb2.ErasureMode.ValueType") -> None:
    predictions(alone)
    erase(alone, mode)
    tombstones = alone.privacy.ListTombstones(privacy_pb2.ListTombstonesRequest()).tombstones
    with alone.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tombstones")
    save(alone, prediction("a-9", user=ANN))  # as the dump has it
    request = privacy_pb2.ApplyTombstonesRequest(tombstones=tombstones)
    applied = alone.privacy.ApplyTombstones(request)
    assert (applied.applied, applied.erased_ids) == (1, 1)
    assert [each["table"] for each in exported(alone)] == ["tombstones"]
    assert alone.privacy.ApplyTombstones(request).applied == 0
