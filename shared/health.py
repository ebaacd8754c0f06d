"""Health as load balancers ask for it (grpc.health.v1): SERVING only while the service can do its work."""

import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread

from grpc_health.v1 import health, health_pb2

_logger = logging.getLogger(__name__)

_OVERDUE_SECONDS = 3.0


class Health:
    """Keeps the health of a server and its services in step with `ready`.

    `ready` is asked every `interval_seconds`, in a thread of its own. An exception means no, and so does an
    answer that takes more than three seconds, until it comes.
    """

    def __init__(
        self, service_names: Sequence[str], ready: Callable[[], bool], interval_seconds: float = 1.0
    ) -> None:
        self.servicer = health.HealthServicer(experimental_non_blocking=True)
        self._names = (health.OVERALL_HEALTH, *service_names)
        self._ready = ready
        self._interval_seconds = interval_seconds
        self._question: _Question | None = None
        self._serving: bool | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._watch, name="health", daemon=True)

    @property
    def is_serving(self) -> bool:
        """Return whether it says SERVING."""
        return bool(self._serving) and not self._stopped.is_set()

    def start(self) -> None:
        """Ask once, then go on asking in the background."""
        self._update()
        self._thread.start()

    def stop(self) -> None:
        """Be NOT_SERVING for good, without waiting for an answer that is overdue."""
        self._stopped.set()
        self.servicer.enter_graceful_shutdown()
        self._thread.join(_OVERDUE_SECONDS + self._interval_seconds)

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
        # One question at a time: whoever hangs would hang the next ones too.
        question = self._question or _Question(self._ready)
        answered = question.is_answered_within(_OVERDUE_SECONDS)
        self._question = None if answered else question
        return (question.answer, question.cause) if answered else (False, "overdue")


class _Question:
    """Asks in a thread that nobody has to wait for."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self.answer = False
        self.cause: str | None = None
        self._thread = Thread(target=self._ask, args=(ready,), name="health-question", daemon=True)
        self._thread.start()

    def is_answered_within(self, seconds: float) -> bool:
        """Wait for the answer; return whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _ask(self, ready: Callable[[], bool]) -> None:
        try:
            self.answer = ready()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from answering keeps it from serving
            self.cause = type(error).__name__
