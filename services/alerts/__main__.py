"""Runs the alerts service: `python -m services.alerts`; `shared.running` tells its commands."""

from services.alerts import application
from services.alerts.config import AlertsSettings
from services.alerts.store.recipients import STORED_ADDRESSES
from shared.running import Program, run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT, or do what the command line says and end."""
    run(PROGRAM)


def _serve(settings: AlertsSettings) -> None:
    running = application.start(settings, unix_micros)
    running.work()
    running.wait()


PROGRAM = Program("services.alerts", AlertsSettings, application.start, _serve, STORED_ADDRESSES)


if __name__ == "__main__":
    main()
