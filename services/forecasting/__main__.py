"""Runs the forecasting service: `python -m services.forecasting`, or `… migrate` or `… rotate-keys`."""

from services.forecasting import application
from services.forecasting.config import ForecastingSettings
from shared.people import STORED_IDS
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate` or `rotate-keys`, do that to the database and end."""
    run(ForecastingSettings, "services.forecasting", STORED_IDS, _serve)


def _serve(settings: ForecastingSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
