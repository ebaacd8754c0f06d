"""What is exported again is stored once; what only looks alike is stored as often as it happened."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from services.events.log_records.export import read_export
from services.events.log_records.mapping import Mapper
from shared.auth import Role, mint_token
from tests.faults.proxy import HEALTHY, Fault, Proxy
from tests.services.events.conftest import Service
from tests.services.events.log_records.exporting import (
    NANOS,
    PERSON,
    Exporting,
    counted,
    export,
    record,
    request,
    stored,
)
from tests.services.events.test_measures import scrape
from tests.waiting import until

UUID = "019a0f6e-8a5b-7c3d-9e1f-2a3b4c5d6e7f"


def ids(message: ExportLogsServiceRequest) -> list[str]:
    return [event.event_id for event in read_export(message, Mapper(lambda who: who[1])).events]


def test_an_exporter_that_lost_the_answer_stores_nothing_twice(
    service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    token = mint_token(token_keys[0], "shop", [Role.INGEST], None, 0)
    with Proxy(f"127.0.0.1:{service.application.server.port}") as proxy:
        proxy.fault = Fault(cut_reply_ratio=1.0)
        port = int(proxy.address.rpartition(":")[2])
        with Exporting(port, token).logger(**{"service.name": "shop"}) as logger:
            for number in range(50):
                logger.emit(timestamp=NANOS + number, event_name="bought", attributes=PERSON)
            until(lambda: proxy.replies_cut > 0)
            proxy.fault = HEALTHY
    assert counted(service) == (50, 1)
    assert scrape(service)['events_tracked_total{result="duplicate"}'] >= 50


def test_equal_records_of_one_export_are_different_events_and_stay_so(service: Service) -> None:
    twice = [record(user__id="ann"), record(user__id="ann")]
    for _ in range(3):
        export(service, *twice, service__name="shop")
    assert counted(service) == (2, 1)


def test_a_record_with_an_id_is_one_event_whatever_else_differs(service: Service) -> None:
    for number in range(3):
        export(service, record(user__id="ann", log__record__uid=UUID, attempt=number))
    [event] = stored(service)
    assert event.event_id == UUID
    export(service, record(user__id="ann", log__record__uid="01JC-not-a-uuid"))
    assert {event.event_id for event in stored(service)} == {UUID, "01JC-not-a-uuid"}


records = st.lists(
    st.builds(
        lambda name, after, user, flag: record(name, time=NANOS + after, user__id=user, flag=flag),
        st.sampled_from(["bought", "looked"]),
        st.integers(0, 3),
        st.sampled_from(["ann", "bob"]),
        st.booleans(),
    ),
    max_size=12,
)


@given(records)
def test_events_have_as_many_ids_as_there_are_records(made: list[LogRecord]) -> None:
    assert len(set(ids(request(*made)))) == len(made)
    assert ids(request(*made)) == ids(request(*made))


@given(records, st.randoms(use_true_random=False), st.integers(0, 12))
def test_different_records_keep_their_ids_however_exports_are_divided(
    made: list[LogRecord], random: Random, cut: int
) -> None:
    different = list({each.SerializeToString(): each for each in made}.values())
    together = set(ids(request(*different)))
    random.shuffle(different)
    assert {*ids(request(*different[:cut])), *ids(request(*different[cut:]))} == together


@pytest.mark.parametrize(
    "other",
    [
        request(record(time=NANOS + 1, user__id="ann"), service__name="shop"),
        request(record(user__id="ann", more=1), service__name="shop"),
        request(record(user__id="ann"), service__name="shop", service__instance__id="b"),
        request(record("bought", user__id="ann"), service__name="shop"),
    ],
    ids=["time", "attribute", "process", "name"],
)
def test_records_that_differ_anywhere_are_different_events(other: ExportLogsServiceRequest) -> None:
    assert ids(other) != ids(request(record(user__id="ann"), service__name="shop"))


def test_a_made_id_is_a_uuid_of_version_8() -> None:
    [made] = ids(request(record(user__id="ann")))
    assert made[14] == "8"
    assert made[19] in "89ab"
    assert len(made.replace("-", "")) == 32
