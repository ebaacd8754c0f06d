"""A question whose caller has gone does not go on in the database."""

from datetime import UTC, datetime

import grpc
import pytest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from tests.services.events.conftest import Service

# The question's alone: what folds beside it waits for the lock, too.
RUNNING = text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
  AND query LIKE '%FROM keys JOIN event_days%'
""")


def at(year: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    return stamp


def test_a_read_that_waits_for_a_lock_ends_with_its_caller(service: Service) -> None:
    span = TimeRange(start_time=at(2011), end_time=at(2012))
    with service.engine.begin() as connection:
        connection.execute(text("LOCK TABLE event_days, event_hours IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(grpc.RpcError) as ended:
            service.events.GetTopEvents(pb.GetTopEventsRequest(time_range=span), timeout=0.5)
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        waited = 0
        while connection.execute(RUNNING).scalar_one() and waited < 1000:
            waited += 1
            # Within a transaction the view tells the same again and again, unless it is asked afresh.
            connection.execute(text("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)"))
        assert waited < 200  # two seconds: one more than the call had left

    assert service.events.GetTopEvents(pb.GetTopEventsRequest(time_range=span)).total_events == 0
