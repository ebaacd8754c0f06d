"""Runs the funnels service: `python -m services.funnels`, or `… migrate`."""

from services.funnels import application
from services.funnels.config import FunnelsSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; `migrate` and `forget` change the database and end."""
    run(FunnelsSettings, "services.funnels", _serve, application.start)


def _serve(settings: FunnelsSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
