"""Health as load balancers ask for it (grpc.health.v1): SERVING only while the service can do its work."""

import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread

from grpc_health.v1 import health, health_pb2

_logger = logging.getLogger(__name__)


class Health:
    """Keeps the health of a server and its services in step with `ready`.

    `ready` is asked every `interval_seconds`, in a thread of its own; it should answer within a second or
    two (health is as old as its slowest answer), and an exception means no.
    """

    def __init__(
        self, service_names: Sequence[str], ready: Callable[[], bool], interval_seconds: float = 1.0
    ) -> None:
        self.servicer = health.HealthServicer(experimental_non_blocking=True)
        self._names = (health.OVERALL_HEALTH, *service_names)
        self._ready = ready
        self._interval_seconds = interval_seconds
        self._serving: bool | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Ask once, then go on asking in the background."""
        self._update()
        self._thread.start()

    def stop(self) -> None:
        """Be NOT_SERVING for good."""
        self._stopped.set()
        self.servicer.enter_graceful_shutdown()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            self._update()

    def _update(self) -> None:
        serving, cause = self._ask()
        if serving is self._serving:
            return
        self._serving = serving
        statuses = health_pb2.HealthCheckResponse
        for name in self._names:
            self.servicer.set(name, statuses.SERVING if serving else statuses.NOT_SERVING)
        _logger.log(
            logging.INFO if serving else logging.WARNING,
            "health changed",
            extra={"serving": serving, "cause": cause},
        )

    def _ask(self) -> tuple[bool, str | None]:
        try:
            return self._ready(), None
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering keeps it from serving
            return False, type(error).__name__
