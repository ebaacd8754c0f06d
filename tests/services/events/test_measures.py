"""Prometheus sees what became of events."""

import urllib.request
from collections.abc import Callable

from brain.events.v1 import events_pb2 as pb

from tests.services.events.conftest import Service


def scrape(service: Service) -> dict[str, float]:
    address = f"http://127.0.0.1:{service.application.server.metrics_port}/metrics"
    with urllib.request.urlopen(address) as response:
        lines = response.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_events_are_counted_by_what_became_of_them(service: Service) -> None:
    good = pb.Event(event="a", session_id="s", event_id="1")
    good.event_time.seconds = 1_320_000_000
    bad = pb.Event(event="a", category="c" * 101)  # two fields at fault, one event
    service.events.TrackEvents(pb.TrackEventsRequest(events=[good, good, bad]))
    service.events.TrackEvent(pb.TrackEventRequest(event=good))

    seen = scrape(service)

    assert seen['events_tracked_total{result="accepted"}'] == 1
    assert seen['events_tracked_total{result="duplicate"}'] == 2
    assert seen['events_tracked_total{result="rejected"}'] == 1
    assert seen["events_queued"] == 0


def test_how_many_may_wait_is_told_beside_how_many_do(start_service: Callable[..., Service]) -> None:
    assert scrape(start_service(queue_events=7_000))["events_queue_limit"] == 7_000
