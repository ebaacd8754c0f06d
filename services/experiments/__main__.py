"""Runs the experiments service: `python -m services.experiments`, or `… migrate` or `… rotate-keys`."""

from services.experiments import application
from services.experiments.config import ExperimentsSettings
from shared.people import STORED_IDS
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; with `migrate` or `rotate-keys`, do that to the database and end."""
    run(ExperimentsSettings, "services.experiments", STORED_IDS, _serve)


def _serve(settings: ExperimentsSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
