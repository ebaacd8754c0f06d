"""The tab Retention."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from gateway.dashboard import retention, top, visits
from gateway.dashboard.answers import Failure, answered
from gateway.dashboard.frame import Tab
from gateway.dashboard.signing_in import SigningIn
from shared.validation import Violations

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.retention import Choice
    from gateway.dashboard.visits import Visit

# Events that the lists of the tab offer.
_OFFERED = 100


@dataclass(frozen=True)
class RetentionTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the whole page."""
        visit, choice = await self._chosen(request)
        above, found, most = await asyncio.gather(
            visits.overview(visit),
            visit.questions.retention(retention.request(choice, visit.scope)),
            visit.questions.top(top.request(visit.scope, _OFFERED)),
        )
        offered = [] if isinstance(most, Failure) else [one.event for one in most.top_events]
        values = {
            "overview": above,
            "choice": choice,
            "cohorts": retention.COHORTS,
            "modes": retention.MODES,
            "entries": retention.ENTRIES,
            # What is chosen stays on offer on days without it.
            "events": dict.fromkeys([*filter(None, (choice.start, choice.returned)), *offered]),
            "grid": found if isinstance(found, Failure) else retention.grid(found, visit.scope),
        }
        return visit.page("retention.html", "retention", choice.parameters(), values)

    async def file(self, request: "Request") -> "Response":
        """Return the grid as CSV."""
        visit, choice = await self._chosen(request)
        found = answered(await visit.questions.retention(retention.request(choice, visit.scope)))
        return visits.file("retention", retention.CSV_HEADER, retention.exported(found, visit.scope.zone))

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        choice = retention.read(violations, request.query_params)
        violations.raise_if_any()
        return visit, choice


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = RetentionTab(signing)
    return [
        Route("/retention", tab.show, methods=["GET"]),
        Route("/retention/grid.csv", tab.file, methods=["GET"]),
    ]


TAB: Final = Tab("retention", "Retention", _routes)
