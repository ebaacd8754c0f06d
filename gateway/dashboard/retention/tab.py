"""The tab Retention."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from gateway.dashboard.overview import headline
from gateway.dashboard.page import top, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from gateway.dashboard.retention import cohorts
from shared.validation import Violations

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit
    from gateway.dashboard.retention.cohorts import Choice

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
            headline.read(visit),
            visit.questions.retention(cohorts.request(choice, visit.scope)),
            visit.questions.top(top.request(visit.scope, _OFFERED)),
        )
        offered = [] if isinstance(most, Failure) else [one.event for one in most.top_events]
        values = {
            "overview": above,
            "choice": choice,
            "cohorts": cohorts.COHORTS,
            "modes": cohorts.MODES,
            "entries": cohorts.ENTRIES,
            # What is chosen stays on offer on days without it.
            "events": dict.fromkeys([*filter(None, (choice.start, choice.returned)), *offered]),
            "grid": found if isinstance(found, Failure) else cohorts.grid(found, visit.scope),
        }
        return visit.page("retention.html", "retention", choice.parameters(), values)

    async def file(self, request: "Request") -> "Response":
        """Return the grid as CSV."""
        visit, choice = await self._chosen(request)
        found = answered(await visit.questions.retention(cohorts.request(choice, visit.scope)))
        return visits.file("retention", cohorts.CSV_HEADER, cohorts.exported(found, visit.scope.zone))

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        choice = cohorts.read(violations, request.query_params)
        violations.raise_if_any()
        return visit, choice


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = RetentionTab(signing)
    return [
        Route("/retention", tab.show, methods=["GET"]),
        Route("/retention/grid.csv", tab.file, methods=["GET"]),
    ]


TAB: Final = Tab("retention", "Retention", _routes)
