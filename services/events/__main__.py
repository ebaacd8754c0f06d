"""Runs the events service: `python -m services.events`; `shared.running` tells its commands."""

import gc

from services.events import application, distribution
from services.events.config import EventsSettings
from services.events.users import STORED_IDS
from shared.running import Program, run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT, or do what the command line says and end."""
    run(PROGRAM)


def _serve(settings: EventsSettings) -> None:
    # The default looks through the cache of people again and again while events come and go, for a sixth of
    # the processor. Most of what this service makes is freed without the collector; a chore calls it.
    gc.set_threshold(100_000, 20, 50)
    application.start(settings, unix_micros).wait()


PROGRAM = Program(
    "services.events",
    EventsSettings,
    application.start,
    _serve,
    STORED_IDS,
    {"distribute": distribution.command},
)


if __name__ == "__main__":
    main()
