"""Runs the experiments service: `python -m services.experiments`, or `… migrate`."""

import sys
import time

from services.experiments import application
from services.experiments.config import ExperimentsSettings
from shared import logs, migrations
from shared.config import load


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate`, brings the database up to date and ends."""
    settings = load(ExperimentsSettings)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        migrations.upgrade(settings.database_url, settings.database_schema, "services.experiments")
        return
    application.start(settings, lambda: time.time_ns() // 1000).wait()


if __name__ == "__main__":
    main()
