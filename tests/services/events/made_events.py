"""Events by number: always the same for a number, in no order of time, in twenty hours of ninety days."""

from collections.abc import Iterable

from brain.events.v1.events_pb2 import Event

# Ends before the tests' clock.
FIRST_SECOND = 1_312_999_200  # 2011-08-10 18:00:00, half an hour before midnight in Kolkata
HOURS, HOURS_APART = 20, 108
# Refused by PostgreSQL, and by no check before it: beyond the scale of numeric.
POISON = Event(
    event_id="poison",
    user_id="user-1",
    session_id="s",
    event="poisoned",
    properties_json='{"n": 0.' + "0" * 16_383 + "1}",
)
POISON.event_time.FromSeconds(FIRST_SECOND)


def made_event(number: int) -> Event:
    """Return the event of a number: of one of 40 users, 10 anonymous ids or 10 sessions."""
    kind = number % 6
    event = Event(
        event_id=f"event-{number}",
        user_id=f"user-{number * 7 % 40}" if kind < 4 else "",
        anonymous_id=f"device-{number * 7 % 10}" if kind in {0, 4} else "",
        session_id=f"session-{number * 7 % 10}",
        event=("viewed", "bought", "returned", "searched", "viewed", "shared")[number * 5 % 6],
        category=("", "revenue")[number % 2],
    )
    seconds = FIRST_SECOND + number * 7 % HOURS * HOURS_APART * 3_600 + number * 997 % 3_600
    event.event_time.FromMicroseconds(seconds * 1_000_000 + number % 1_000_000)
    if number % 3:
        event.value = (number * 1_313 % 2_001 - 1_000) / 100
    return event


def made_events(numbers: Iterable[int]) -> list[Event]:
    """Return the events of numbers."""
    return [made_event(number) for number in numbers]
