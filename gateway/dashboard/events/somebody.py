"""What one user, anonymous id or session did, newest first."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dashboard.page import listing, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.signing_in import SigningIn
from shared import validation
from shared.validation import Violations

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import QueryEventsResponse
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose events are wanted: a kind of listing.KINDS, or none to try each in turn."""

    kind: str
    id: str
    page_token: str

    def parameters(self) -> dict[str, str]:
        """Return what asks for the same somebody again, in an address."""
        return {name: value for name, value in (("kind", self.kind), ("id", self.id)) if value}


@dataclass(frozen=True)
class Somebody:
    """The handlers of the search and the time line."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show a page of the time line."""
        visit, asked = await self._asked(request)
        kind, found = await _found(visit, asked)
        trouble = found.text if isinstance(found, Failure) else ""
        rows = () if isinstance(found, Failure) else listing.rows(found.events, visit.scope.zone)
        values = {
            "asked": asked,
            "kind": listing.KINDS.get(kind, ""),
            "rows": rows,
            "trouble": trouble,
            "next_page_token": "" if isinstance(found, Failure) else found.next_page_token,
        }
        return visit.page(
            "somebody.html", "events", asked.parameters() | ({"kind": kind} if kind else {}), values
        )

    async def file(self, request: "Request") -> "Response":
        """Return the newest events of somebody as CSV."""
        visit, asked = await self._asked(request)
        _, found = await _found(visit, asked, listing.EXPORTED_EVENTS)
        events = answered(found).events
        return visits.file("time_line", listing.CSV_HEADER, listing.exported(events, visit.scope.zone))

    async def _asked(self, request: "Request") -> "tuple[Visit, Asked]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        given = request.query_params
        kind = given.get("kind", "")
        if kind and kind not in listing.KINDS:
            violations.add("kind", f"must be one of {', '.join(listing.KINDS)}, or absent")
        somebody = validation.text(violations, "id", given.get("id", "").strip(), maximum=200)
        violations.raise_if_any()
        return visit, Asked(kind, somebody, given.get("page", ""))


async def _found(
    visit: "Visit", asked: Asked, page_size: int = listing.TIMELINE_EVENTS
) -> "tuple[str, QueryEventsResponse | Failure]":
    """Return the first kind that has such an id, and its events; the last kind where none has."""
    kinds = [asked.kind] if asked.kind else list(listing.KINDS)
    answers = await asyncio.gather(
        *(
            visit.questions.events(listing.of_somebody(kind, asked.id, asked.page_token, page_size))
            for kind in kinds
        )
    )
    tried = list(zip(kinds, answers, strict=True))
    for kind, answer in tried:
        if isinstance(answer, Failure) or answer.events:
            return kind, answer
    return ("", tried[-1][1])
