"""Runs the experiments service: `python -m services.experiments`; `shared.running` tells its commands."""

from services.experiments import application
from services.experiments.config import ExperimentsSettings
from shared.people import STORED_IDS
from shared.running import Program, run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT, or do what the command line says and end."""
    run(PROGRAM)


def _serve(settings: ExperimentsSettings) -> None:
    application.start(settings, unix_micros).wait()


PROGRAM = Program("services.experiments", ExperimentsSettings, application.start, _serve, STORED_IDS)


if __name__ == "__main__":
    main()
