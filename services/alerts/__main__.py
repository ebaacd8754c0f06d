"""Runs the alerts service: `python -m services.alerts`, or `… migrate`."""

import sys
import time

from services.alerts import application
from services.alerts.config import AlertsSettings
from shared import logs, migrations
from shared.config import load


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate`, brings the database up to date and ends."""
    settings = load(AlertsSettings)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        migrations.upgrade(settings.database_url, settings.database_schema, "services.alerts")
        return
    running = application.start(settings, lambda: time.time_ns() // 1000)
    running.work()
    running.wait()


if __name__ == "__main__":
    main()
