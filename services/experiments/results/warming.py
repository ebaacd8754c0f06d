"""Follows who became whom and reads what people did, before anybody asks for results."""

import time
from typing import TYPE_CHECKING, Final

from services.experiments.domain import Status
from shared.chores import Chore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.experiments.catalogue import Catalogue
    from services.experiments.results.reader import ResultReader

WARMING_SECONDS: Final = 30.0
_REST_RATIO: Final = 20.0
_LEARNING_REST_RATIO: Final = 3.0


def warming(engine: "Engine", catalogue: "Catalogue", reader: "ResultReader") -> Chore:
    """Leave out people who turn out to have two variants, of every experiment; read what events feed.

    Results of what is tracked here alone do not wait for the events service: they follow merges by this.
    """

    def run() -> float:
        began = time.monotonic()
        experiments = [
            each
            for each in catalogue.snapshot().experiments.values()
            if each.status in {Status.RUNNING, Status.PAUSED}
        ]
        if any(reader.learn_some(engine, each) for each in experiments):
            return _LEARNING_REST_RATIO * (time.monotonic() - began)
        for experiment in experiments:
            reader.mark_merged(engine, experiment)
            with engine.begin() as connection:
                reader.warm(connection, experiment)
        return max(WARMING_SECONDS, _REST_RATIO * (time.monotonic() - began))

    return Chore("warming results", run)
