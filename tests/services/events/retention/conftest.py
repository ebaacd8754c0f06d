"""Services that hold every small history, half of it folded."""

from collections.abc import Callable
from datetime import datetime

import pytest
from brain.events.v1 import events_pb2 as pb

from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.retention.histories import Happened, to_event


@pytest.fixture
def holding(start_service: Callable[..., Service], still: None) -> Callable[[list[Happened], str], Service]:
    """Starts a service with events, of a reporting zone."""

    def start(events: list[Happened], reporting_zone: str) -> Service:
        service = start_service(reporting_time_zone=reporting_zone)
        messages = [to_event(number, each) for number, each in enumerate(events)]
        half = len(messages) // 2
        for part in (messages[:half], messages[half:]):
            compact(service.engine)
            assert service.events.TrackEvents(pb.TrackEventsRequest(events=part)).accepted == len(part)
        return service

    return start


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
