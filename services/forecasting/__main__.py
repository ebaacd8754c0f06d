"""Runs the forecasting service: `python -m services.forecasting`, or `… migrate`."""

from services.forecasting import application
from services.forecasting.config import ForecastingSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; `migrate` and `forget` change the database and end."""
    run(ForecastingSettings, "services.forecasting", _serve, application.start)


def _serve(settings: ForecastingSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
