"""Runs the funnels service: `python -m services.funnels`, or `… migrate` or `… rotate-keys`."""

from services.funnels import application
from services.funnels.config import FunnelsSettings
from shared.people import STORED_IDS
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate` or `rotate-keys`, do that to the database and end."""
    run(FunnelsSettings, "services.funnels", STORED_IDS, _serve)


def _serve(settings: FunnelsSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
