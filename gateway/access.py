"""Who asks, by the bearer token of a request. What they may is for the services to decide."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.auth import Caller, Role
from shared.errors import Unauthenticated

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.auth import Verifier


@dataclass(frozen=True, slots=True)
class Asker:
    """A verified caller and the token to pass on."""

    caller: Caller
    token: str


@dataclass(frozen=True)
class Access:
    """Verifies tokens; without a verifier everybody is an administrator without a name.

    `clock` tells Unix seconds.
    """

    verifier: "Verifier | None"
    clock: Callable[[], float]

    async def of_request(self, request: "Request") -> Asker:
        """Return who sends a request; raise Unauthenticated."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme and scheme.lower() != "bearer":
            raise Unauthenticated("authorization must be `Bearer` and a token", "TOKEN_INVALID")
        asker = await self.of_token(token.strip())
        request.state.caller = asker.caller.subject
        return asker

    async def of_token(self, token: str) -> Asker:
        """Return whose a token is; raise Unauthenticated."""
        if self.verifier is None:
            return Asker(Caller("", frozenset({Role.ADMIN})), token)
        # A thread, for the keys of an identity provider may have to be fetched first.
        caller = await asyncio.to_thread(self.verifier.verify, token, self.clock())
        return Asker(caller, token)
