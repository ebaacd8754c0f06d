"""Runs the events service: `python -m services.events`, or `… migrate` or `… rotate-keys`."""

import gc

from services.events import application
from services.events.config import EventsSettings
from services.events.users import STORED_IDS
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate` or `rotate-keys`, do that to the database and end."""
    run(EventsSettings, "services.events", STORED_IDS, _serve)


def _serve(settings: EventsSettings) -> None:
    # The default looks through the cache of people again and again while events come and go, for a sixth of
    # the processor. What this service makes is freed without the collector.
    gc.set_threshold(100_000, 20, 50)
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
