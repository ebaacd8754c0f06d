"""After a fail-over or a restore nobody is taken for somebody else, though the keys are given out anew."""

from brain.events.v1 import events_pb2 as pb
from sqlalchemy import text

from tests.services.events.conftest import Service

# What a database restored from an empty dump looks like to a service that goes on running.
FORGET = text("TRUNCATE users, event_types, events, event_deltas, event_hours, event_days RESTART IDENTITY")
RESTART = text("ALTER SEQUENCE known_user_keys RESTART")
END_OTHERS = text("""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user
""")


def track(service: Service, who: str, event: str) -> None:
    service.events.TrackEvent(
        pb.TrackEventRequest(event=pb.Event(user_id=who, session_id="s", event=event)), wait_for_ready=True
    )


def events_of(service: Service, who: str) -> list[str]:
    return [each.event for each in service.events.QueryEvents(pb.QueryEventsRequest(user_id=who)).events]


def test_keys_are_looked_up_again_after_a_reconnect(service: Service, still: None) -> None:
    track(service, "ann", "came")
    assert events_of(service, "ann") == ["came"]
    with service.engine.begin() as connection:
        connection.execute(FORGET)
        connection.execute(RESTART)
        connection.execute(END_OTHERS)

    track(service, "bob", "left")  # takes the keys that ann and "came" had
    track(service, "ann", "came")

    assert events_of(service, "ann") == ["came"]
    assert events_of(service, "bob") == ["left"]
