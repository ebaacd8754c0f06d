"""What a service does again and again beside its calls: a thread for each chore."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge

from shared.database import translate
from shared.errors import ServiceError
from shared.request_id import current_request_id, new_request_id
from shared.tracing import current_span

if TYPE_CHECKING:
    from shared.spans import Tracer

_log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Chore:
    """Something done again and again; it returns how many seconds to wait before the next time.

    Whoever sets `wanted` cuts that short.
    """

    name: str
    run: Callable[[], float]
    wanted: Event = field(default_factory=Event)


class Housekeeper:
    """Does chores until it is stopped, each in a thread of its own.

    Each time has a request id of its own and, where it asks other services, a trace.
    """

    def __init__(
        self, chores: Sequence[Chore], registry: CollectorRegistry, tracer: "Tracer | None" = None
    ) -> None:
        self._stopping = Event()
        self._tracer = tracer
        self._succeeded = Gauge(
            "chore_success_timestamp_seconds",
            "When a chore last ended well; from the start on, Unix seconds.",
            ("chore",),
            registry=registry,
        )
        for chore in chores:
            self._succeeded.labels(chore.name).set_to_current_time()
        self._chores = chores
        self._threads = [
            Thread(target=self._repeat, args=(chore,), name=f"chore-{chore.name}", daemon=True)
            for chore in chores
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads once each has finished what it is at."""
        self._stopping.set()
        for chore in self._chores:
            chore.wanted.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, chore: Chore) -> None:
        failing = False
        wait = 0.0
        while True:
            chore.wanted.wait(wait)
            chore.wanted.clear()
            if self._stopping.is_set():
                return
            try:
                wait = self._once(chore)
            except Exception as error:  # noqa: BLE001 - whatever it is, the chore is needed tomorrow
                wait = RETRY_SECONDS
                if not failing:  # the transition, not every failure of an outage
                    _tell(chore, error)
                failing = True
            else:
                if failing:
                    _log.info("chore works again", extra={"chore": chore.name})
                failing = False
                self._succeeded.labels(chore.name).set_to_current_time()

    def _once(self, chore: Chore) -> float:
        current_request_id.set(new_request_id())
        if self._tracer is None:
            return chore.run()
        span = self._tracer.of_round(chore.name)
        current_span.set(span)
        failed = True
        try:
            wait = chore.run()
            failed = False
        finally:
            span.end(failed=failed)
        return wait


def _tell(chore: Chore, error: Exception) -> None:
    fields = {"chore": chore.name, "error": type(error).__name__}
    if isinstance(error, ServiceError) or translate(error):
        _log.warning("chore fails", extra=fields)
    else:
        _log.error("chore fails", extra=fields, exc_info=error)
