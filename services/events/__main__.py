"""Runs the events service: `python -m services.events`, or `python -m services.events migrate`."""

import gc

from services.events import application
from services.events.config import EventsSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; `migrate` and `forget` change the database and end."""
    run(EventsSettings, "services.events", _serve, application.start)


def _serve(settings: EventsSettings) -> None:
    # The default looks through the cache of people again and again while events come and go, for a sixth of
    # the processor. What this service makes is freed without the collector.
    gc.set_threshold(100_000, 20, 50)
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
