"""Runs the alerts service: `python -m services.alerts`, or `… migrate`."""

from services.alerts import application
from services.alerts.config import AlertsSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; `migrate` and `forget` change the database and end."""
    run(AlertsSettings, "services.alerts", _serve, application.start)


def _serve(settings: AlertsSettings) -> None:
    running = application.start(settings, unix_micros)
    running.work()
    running.wait()


if __name__ == "__main__":
    main()
