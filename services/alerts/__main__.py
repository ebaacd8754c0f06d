"""Runs the alerts service: `python -m services.alerts`, or `… migrate` or `… rotate-keys`."""

from services.alerts import application
from services.alerts.config import AlertsSettings
from services.alerts.store.recipients import STORED_ADDRESSES
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate` or `rotate-keys`, do that to the database and end."""
    run(AlertsSettings, "services.alerts", STORED_ADDRESSES, _serve)


def _serve(settings: AlertsSettings) -> None:
    running = application.start(settings, unix_micros)
    running.work()
    running.wait()


if __name__ == "__main__":
    main()
