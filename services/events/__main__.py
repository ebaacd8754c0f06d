"""Runs the events service: `python -m services.events`, or `python -m services.events migrate`."""

import gc
import sys
import time

from services.events import application
from services.events.config import EventsSettings
from shared import logs, migrations
from shared.config import load


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate`, brings the database up to date and ends."""
    # The default looks through the cache of people again and again while events come and go, for a sixth of
    # the processor. What this service makes is freed without the collector.
    gc.set_threshold(100_000, 20, 50)
    settings = load(EventsSettings)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        migrations.upgrade(settings.database_url, settings.database_schema, "services.events")
        return
    application.start(settings, lambda: time.time_ns() // 1000).wait()


if __name__ == "__main__":
    main()
