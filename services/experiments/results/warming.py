"""Follows who became whom and reads what people did, before anybody asks for results."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from services.experiments.domain import Experiment, Status
from services.experiments.results.feeds import EventFeeds
from services.experiments.results.reader import ResultReader
from shared.chores import Chore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.experiments.catalogue import Catalogue

WARMING_SECONDS: Final = 30.0
_REST_RATIO: Final = 20.0
# Many at once would take the calls beside them the interpreter: one in a hundred took 142 ms instead of 4.
_MET_AT_ONCE: Final = 200
_MEETING_REST_RATIO: Final = 3.0
# Who comes meanwhile may be as many as are met: the others shall not be left out for ever.
_MEETING_SECONDS: Final = 300.0


def warming(
    engine: "Engine", catalogue: "Catalogue", feeds: EventFeeds, now: Callable[[], float] = time.monotonic
) -> Chore:
    """Leave out people who turn out to have two variants, of every experiment; read what events feed.

    Results of what is tracked here alone do not wait for the events service: they follow merges by this.
    """
    reader, meeting = ResultReader(feeds), _Meeting(engine, feeds, now)

    def run() -> float:
        began = now()
        experiments = [
            each
            for each in catalogue.snapshot().experiments.values()
            if each.status in {Status.RUNNING, Status.PAUSED}
        ]
        if meeting.step(experiments):
            return _MEETING_REST_RATIO * (now() - began)
        for experiment in experiments:
            reader.mark_merged(engine, experiment)
            with engine.begin() as connection:
                reader.warm(connection, experiment)
        return max(WARMING_SECONDS, _REST_RATIO * (now() - began))

    return Chore("warming results", run)


@dataclass
class _Meeting:
    """Asks the events service who newcomers are, a few at a time."""

    engine: "Engine"
    feeds: EventFeeds
    now: Callable[[], float]
    _until: float = 0.0
    _waiting: list[NDArray[np.int32]] = field(default_factory=list)

    def step(self, experiments: list[Experiment]) -> bool:
        """Ask for a few of many; return False where few are left, who need no care, or time is up."""
        if not self._until:
            self._until = self.now() + _MEETING_SECONDS
        if self.now() > self._until or not self._any_wait(experiments):
            self._until = 0.0
            self._waiting.clear()
            return False
        self.feeds.identities.keys(self._waiting.pop())
        return True

    def _any_wait(self, experiments: list[Experiment]) -> bool:
        if not self._waiting:
            for experiment in experiments:
                newcomers = self.feeds.newcomers(self.engine, experiment)
                self._waiting += [
                    newcomers[start : start + _MET_AT_ONCE]
                    for start in range(0, len(newcomers), _MET_AT_ONCE)
                ]
            return len(self._waiting) > len(experiments)
        return True
