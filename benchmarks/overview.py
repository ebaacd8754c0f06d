"""The overview of 30 days beside the 30 before, over gRPC, and what sessions add to storing an event."""

from typing import TYPE_CHECKING

from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.events.v1.overview_pb2 import GetOverviewRequest

from benchmarks import data, measuring
from benchmarks.loading import field
from benchmarks.report import Line, milliseconds
from services.events.sessions.runs import Runs
from services.events.sessions.tails import session_columns
from shared.calendar import DAY_MICROS

if TYPE_CHECKING:
    from benchmarks.stored import Stored

BAR_SECONDS = 0.25
BATCH = 5_000


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure `count` stored events, `calls` calls."""
    database = stored.database(count)
    with stored.stack.service(database) as service, service.channel() as channel:
        events = EventsServiceStub(channel)
        [seconds] = measuring.medians(
            [lambda: events.GetOverview(GetOverviewRequest(), metadata=service.metadata)], calls
        )
    return [
        Line(
            f"overview of 30 days and the 30 before, of {count:,} events",
            milliseconds(seconds),
            bar=f"≤ {milliseconds(BAR_SECONDS)}",
            is_met=seconds <= BAR_SECONDS,
        ),
        _runs(stored.now, calls),
    ]


def _runs(now: int, calls: int) -> Line:
    events = data.recent(BATCH, now)
    profiles = data.profiles()
    tails = [
        b"".join(map(field, (data.session_id(user, time // DAY_MICROS), "", profiles[profile].page)))
        for user, time, profile in zip(
            events.users.tolist(), events.times.tolist(), events.profiles.tolist(), strict=True
        )
    ]

    def make() -> bytes:
        return Runs.of_events(events.users, events.times, *session_columns(tails)).pack()

    [seconds] = measuring.medians([make], calls)
    return Line(
        "runs of sessions, made in the ingest transaction",
        f"{seconds / BATCH * 1e6:.2f} µs an event",
        f"{len(make()) / BATCH:.0f} bytes an event",
    )
