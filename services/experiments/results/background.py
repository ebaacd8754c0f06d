"""Folds what was touched, beside the calls."""

import logging
import time
from threading import Event, Thread
from typing import Final

from services.experiments.catalogue import Catalogue
from services.experiments.results.folding import Folder
from shared.database import translate
from shared.errors import ServiceError

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
# Behind by much, folding takes half of one processor: tracking needs PostgreSQL too.
_REST_RATIO: Final = 1.0


class FoldingThread:
    """Looks every second, folds until nothing waits."""

    def __init__(self, folder: Folder, catalogue: Catalogue) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._stopped = Event()
        self._thread = Thread(target=self._repeat, name="folding", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread once it has finished what it is at."""
        self._stopped.set()
        self._thread.join()

    def _repeat(self) -> None:
        failing = False
        wait = 0.0
        while not self._stopped.wait(wait):
            began = time.monotonic()
            try:
                folded = self._step()
            except Exception as error:  # noqa: BLE001 - whatever it is, folding is needed tomorrow
                if not failing:  # the transition, not every failure of an outage
                    _tell(error)
                failing, folded = True, False
            else:
                failing = False
            wait = _REST_RATIO * (time.monotonic() - began) if folded else LOOK_SECONDS

    def _step(self) -> bool:
        waiting = set(self._folder.waiting())
        if not waiting:
            return False
        known = self._catalogue.snapshot().experiments.values()
        # One that was made a moment ago is known the next time.
        return sum(self._folder.fold(each) for each in known if each.experiment_id in waiting) > 0


def _tell(error: Exception) -> None:
    fields = {"error": type(error).__name__}
    if isinstance(error, ServiceError) or translate(error):
        _log.warning("folding fails", extra=fields)
    else:
        _log.error("folding fails", extra=fields, exc_info=error)
