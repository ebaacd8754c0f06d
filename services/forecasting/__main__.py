"""Runs the forecasting service: `python -m services.forecasting`; `shared.running` tells its commands."""

from services.forecasting import application
from services.forecasting.config import ForecastingSettings
from shared.people import STORED_IDS
from shared.running import Program, run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT, or do what the command line says and end."""
    run(PROGRAM)


def _serve(settings: ForecastingSettings) -> None:
    application.start(settings, unix_micros).wait()


PROGRAM = Program("services.forecasting", ForecastingSettings, application.start, _serve, STORED_IDS)


if __name__ == "__main__":
    main()
