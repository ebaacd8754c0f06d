"""Runs the events service: `python -m services.events`.

`python -m services.events migrate` brings its database up to date, `python -m services.events distribute`
spreads its events over the workers of Citus.
"""

import gc

from services.events import application, distribution
from services.events.config import EventsSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with a command, do that and end."""
    run(EventsSettings, "services.events", _serve, {"distribute": distribution.command})


def _serve(settings: EventsSettings) -> None:
    # The default looks through the cache of people again and again while events come and go, for a sixth of
    # the processor. What this service makes is freed without the collector.
    gc.set_threshold(100_000, 20, 50)
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
