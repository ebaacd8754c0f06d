"""Addresses that nobody uses go; one that an alert takes in the same moment stays, or is kept anew."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.alerts.v1 import alerts_pb2 as pb
from sqlalchemy import text

from services.alerts.pruning import prune
from tests.services.alerts.asking import create, get, webhook
from tests.services.alerts.conftest import START, Service
from tests.services.alerts.receivers import Receiver
from tests.waiting import until

LOCK_WAITS = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")


@pytest.fixture
def unused(service: Service, receiver: Receiver) -> str:
    """An address that only a deleted alert told."""
    create(service, "gone", channels=[webhook(receiver.url)])
    service.alerts.DeleteAlert(pb.DeleteAlertRequest(alert_id="gone"))
    return receiver.url


def is_waiting(service: Service) -> bool:
    with service.engine.begin() as connection:
        return bool(connection.execute(LOCK_WAITS).scalar_one())


def recipients(service: Service) -> list[str]:
    return [each for channel in get(service).definition.channels for each in channel.recipients]


def test_an_address_that_is_being_taken_is_not_pruned(service: Service, unused: str) -> None:
    create(service)
    with ThreadPoolExecutor(1) as pool:
        with service.engine.begin() as connection:
            connection.execute(
                text("""
                INSERT INTO alert_recipients (alert_key, position, channel, recipient_id)
                SELECT alert_key, 1, channel, recipient_id FROM alerts, recipients WHERE alert_id = 'errors'
                """)
            )
            pruned = pool.submit(prune, service.engine, START, 90)
            until(lambda: pruned.done() or is_waiting(service))
        pruned.result()
    assert recipients(service) == [unused]


def test_an_address_that_is_being_pruned_is_kept_anew(service: Service, unused: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with service.engine.begin() as connection:
            connection.execute(text("SELECT recipient_id FROM recipients FOR UPDATE"))
            made = pool.submit(create, service, channels=[webhook(unused)])
            until(lambda: made.done() or is_waiting(service))
            connection.execute(text("DELETE FROM recipients"))
        made.result()
    assert recipients(service) == [unused]
