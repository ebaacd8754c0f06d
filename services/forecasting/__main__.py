"""Runs the forecasting service: `python -m services.forecasting`, or `… migrate`."""

import sys
import time

from services.forecasting import application
from services.forecasting.config import ForecastingSettings
from shared import logs, migrations
from shared.config import load


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate`, brings the database up to date and ends."""
    settings = load(ForecastingSettings)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        migrations.upgrade(settings.database_url, settings.database_schema, "services.forecasting")
        return
    application.start(settings, lambda: time.time_ns() // 1000).wait()


if __name__ == "__main__":
    main()
