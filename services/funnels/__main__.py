"""Runs the funnels service: `python -m services.funnels`; `shared.running` tells its commands."""

from services.funnels import application
from services.funnels.config import FunnelsSettings
from shared.people import STORED_IDS
from shared.running import Program, run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT, or do what the command line says and end."""
    run(PROGRAM)


def _serve(settings: FunnelsSettings) -> None:
    application.start(settings, unix_micros).wait()


PROGRAM = Program("services.funnels", FunnelsSettings, application.start, _serve, STORED_IDS)


if __name__ == "__main__":
    main()
