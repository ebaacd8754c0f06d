"""Event streams of flagd's providers: one thread looks for changes, none waits with a stream."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final

from flagd.evaluation.v2 import evaluation_pb2 as pb

from services.experiments.catalogue import Catalogue
from shared.calls import public_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from services.experiments.domain import Experiment

_logger = logging.getLogger(__name__)

Send = Callable[[pb.EventStreamResponse], None]

LOOK_SECONDS: Final = 0.5
KEEP_ALIVE_SECONDS: Final = 20.0
# Sending waits for clients that do not read.
_SENDERS: Final = 8


class EventStreams:
    """The streams that are open, and what they are told."""

    def __init__(self, catalogue: Catalogue, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self._catalogue = catalogue
        self._keep_alive_seconds = keep_alive_seconds
        self._lock = Lock()
        self._open: set[_Stream] = set()
        self._senders = ThreadPoolExecutor(_SENDERS, "flag-events")
        self._known: Mapping[str, Experiment] = {}
        self._stopped = Event()
        self._thread = Thread(target=self._watch, name="flag-changes", daemon=True)

    def start(self) -> None:
        """Begin to look for changes."""
        # Before there is any stream: what changes from here on is told.
        self._known = self._look() or {}
        self._thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._stopped.set()
        self._thread.join()
        self._senders.shutdown(wait=True, cancel_futures=True)

    def open(self, context: "grpc.ServicerContext", send: Send) -> None:
        """Tell a new stream that flags may be asked for, and whatever comes."""
        stream = _Stream(context, send)
        with self._lock:
            self._open.add(stream)
        if context.add_callback(lambda: self._close(stream)):
            stream.send(pb.EventStreamResponse(type="provider_ready"))
        else:
            self._close(stream)

    def _close(self, stream: "_Stream") -> None:
        with self._lock:
            self._open.discard(stream)

    def _watch(self) -> None:
        told = time.monotonic()
        while not self._stopped.wait(LOOK_SECONDS):
            found = self._look()
            if found is not None:
                changed = sorted(key for key in found if found[key] != self._known.get(key))
                self._known = found
                if changed:
                    self._tell(_changes(changed))
            if time.monotonic() - told >= self._keep_alive_seconds:
                told = time.monotonic()
                self._tell(pb.EventStreamResponse(type="keep_alive"))

    def _look(self) -> "Mapping[str, Experiment] | None":
        """Return the experiments; None while the database is away, which health tells."""
        try:
            return self._catalogue.snapshot().experiments
        except Exception as error:
            if public_error(error) is None:
                _logger.exception("looking for changed flags failed")
            return None

    def _tell(self, message: pb.EventStreamResponse) -> None:
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            if stream.is_stuck:
                stream.context.cancel()  # reads nothing; its client comes again and asks anew
            else:
                stream.is_stuck = True
                self._senders.submit(stream.send, message)


class _Stream:
    def __init__(self, context: "grpc.ServicerContext", send: Send) -> None:
        self.context = context
        self._send = send
        # From before a message is sent until it is.
        self.is_stuck = False

    def send(self, message: pb.EventStreamResponse) -> None:
        if self.context.is_active():
            self._send(message)
        self.is_stuck = False


def _changes(keys: list[str]) -> pb.EventStreamResponse:
    message = pb.EventStreamResponse(type="configuration_change")
    message.data.update({"flags": {key: {} for key in keys}})
    return message
