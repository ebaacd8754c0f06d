"""Runs the experiments service: `python -m services.experiments`, or `… migrate`."""

from services.experiments import application
from services.experiments.config import ExperimentsSettings
from shared.running import run, unix_micros


def main() -> None:
    """Serve until SIGTERM or SIGINT; `migrate` and `forget` change the database and end."""
    run(ExperimentsSettings, "services.experiments", _serve, application.start)


def _serve(settings: ExperimentsSettings) -> None:
    application.start(settings, unix_micros).wait()


if __name__ == "__main__":
    main()
