"""Questions to the services in the name of whoever looks at the page, and why one has no answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc import aio
from starlette.exceptions import HTTPException

from gateway import failures
from gateway.services import NotConnectedError

if TYPE_CHECKING:
    from brain.events.v1 import conversion_pb2, events_pb2, retention_pb2
    from brain.metrics.v1 import metrics_pb2

    from gateway.dashboard.page.surroundings import Surroundings

_AWAY = frozenset({503, 504})

Q = TypeVar("Q")
A = TypeVar("A")


class SignInNeededError(Exception):
    """Nobody is signed in, or no longer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a part of a page has no numbers."""

    text: str
    # HTTP's, for who asked for this part alone.
    code: int = 503


@dataclass(frozen=True)
class Questions:
    """Asks the services with a person's own token, so that they decide what this person may see."""

    surroundings: "Surroundings"
    token: str

    async def ask(self, service: str, call: "aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A | Failure:
        """Return the answer of a service, or why there is none; raise SignInNeededError."""
        try:
            return await self.surroundings.services.ask(call, request, self.token)
        except NotConnectedError as error:
            failure = failures.of_error(error)
            return Failure(f"{failure.message[:1].upper()}{failure.message[1:]}.", failure.code)
        except aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise SignInNeededError from None
            return told(service, failures.of_error(error))

    async def count(
        self, request: "events_pb2.CountEventsRequest"
    ) -> "events_pb2.CountEventsResponse | Failure":
        """Count events."""
        return await self.ask("events", self.surroundings.services.events.CountEvents, request)

    async def top(
        self, request: "events_pb2.GetTopEventsRequest"
    ) -> "events_pb2.GetTopEventsResponse | Failure":
        """List the most frequent events."""
        return await self.ask("events", self.surroundings.services.events.GetTopEvents, request)

    async def events(
        self, request: "events_pb2.QueryEventsRequest"
    ) -> "events_pb2.QueryEventsResponse | Failure":
        """List raw events."""
        return await self.ask("events", self.surroundings.services.events.QueryEvents, request)

    async def retention(
        self, request: "retention_pb2.GetRetentionRequest"
    ) -> "retention_pb2.GetRetentionResponse | Failure":
        """Tell who comes back."""
        return await self.ask("events", self.surroundings.services.events.GetRetention, request)

    async def conversion(
        self, request: "conversion_pb2.GetConversionRateRequest"
    ) -> "conversion_pb2.GetConversionRateResponse | Failure":
        """Tell how many go from one event to another."""
        return await self.ask("events", self.surroundings.services.events.GetConversionRate, request)

    async def metrics(
        self, request: "metrics_pb2.ListMetricsRequest"
    ) -> "metrics_pb2.ListMetricsResponse | Failure":
        """List what can be read."""
        return await self.ask("events", self.surroundings.services.metrics.ListMetrics, request)

    async def series(
        self, request: "metrics_pb2.ReadMetricsRequest"
    ) -> "metrics_pb2.ReadMetricsResponse | Failure":
        """Read series of metrics."""
        return await self.ask("events", self.surroundings.services.metrics.ReadMetrics, request)


def told(service: str, failure: failures.Failure) -> Failure:
    """Return what a person is told of a call that failed."""
    if failure.code in _AWAY:
        return Failure(f"The {service} service does not answer at the moment.", failure.code)
    return Failure(f"The {service} service answered: {failure.message}.", failure.code)


def answered(answer: A | Failure) -> A:
    """Return the answer; raise HTTPException with the reason why there is none."""
    if isinstance(answer, Failure):
        raise HTTPException(answer.code, answer.text)
    return answer
