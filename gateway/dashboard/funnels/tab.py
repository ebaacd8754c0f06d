"""The tab Funnels."""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from starlette.routing import BaseRoute, Route

from gateway.dashboard.funnels import choosing, making, step_people, steps, table
from gateway.dashboard.overview import headline
from gateway.dashboard.page import listing, top, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.frame import Notice
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from shared.validation import Violations

if TYPE_CHECKING:
    from brain.funnels.v1 import results_pb2
    from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceAsyncStub
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.funnels.choosing import Choice
    from gateway.dashboard.page.visits import Visit

_SERVICE: Final = "funnels"
_PAGE: Final = 200
# Events among which steps can be chosen.
_OFFERED: Final = 100


@dataclass(frozen=True)
class FunnelsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the list, one funnel, people of it, and the attempts of one of them."""
        visit, choice = await self._chosen(request)
        above, most, (choice, values) = await asyncio.gather(
            headline.read(visit),
            visit.questions.top(top.request(visit.scope, _OFFERED)),
            _seen(visit, choice),
        )
        events = [] if isinstance(most, Failure) else list(most.top_events)
        sent = making.read(visit.parameters)
        values |= {
            "overview": above,
            "choice": choice,
            "touches": choosing.TOUCHES,
            "entries": choosing.ENTRIES,
            "kinds": listing.KINDS,
            "events": [each.event for each in events],
            "form": sent if sent.steps or sent.name else making.suggested(events),
            "form_sent": bool(sent.steps or sent.name),
            "windows": making.WINDOWS,
            "orders": table.ORDERS,
        }
        return visit.page("funnels.html", "funnels", choice.parameters(), values)

    async def steps_file(self, request: "Request") -> "Response":
        """Return the steps as CSV, with more groups than the page shows."""
        visit, choice = await self._chosen(request)
        found = answered(await _results(visit, choice, choosing.EXPORTED_GROUPS))
        rows = steps.exported(found.results)
        return visits.file(f"funnel-{choice.funnel}", steps.CSV_HEADER, rows)

    async def people_file(self, request: "Request") -> "Response":
        """Return the people of a step as CSV, from the first on."""
        visit, choice = await self._chosen(request)
        users: list[results_pb2.StepUser] = []
        asked = choosing.people(replace(choice, page_token=""), visit.scope, choosing.EXPORTED_PAGE)
        names = answered(await _names(visit, choice.funnel))
        while True:
            page = answered(await _page(visit, asked))
            users += page.users
            asked.page_token = page.next_page_token
            if not asked.page_token or len(users) >= choosing.EXPORTED_PEOPLE:
                break
        rows = step_people.exported(users, names, visit.scope.zone)
        name = f"{choice.outcome or 'reached'}-{choice.step}-{choice.funnel}"
        return visits.file(name, step_people.CSV_HEADER, rows)

    async def create(self, request: "Request") -> "Response":
        """Make a funnel; a form that was refused is shown again as it was."""
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        violations.raise_if_any()
        form = making.read(fields)
        asked = making.request(form)
        answer = await visit.questions.ask(_SERVICE, _stub(visit).CreateFunnel, asked)
        if isinstance(answer, Failure):
            return visit.back("funnels", form.parameters(), Notice(answer.text, trouble=True))
        warnings = " ".join(f"{each.message[:1].upper()}{each.message[1:]}." for each in answer.warnings)
        told = f"{answer.funnel.name} is made. {warnings}".strip()
        return visit.back("funnels", {"funnel": answer.funnel.funnel_id}, Notice(told))

    async def deactivate(self, request: "Request") -> "Response":
        """Have a funnel take no more step records."""
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        violations.raise_if_any()
        asked = pb.DeactivateFunnelRequest(funnel_id=fields.get("funnel", ""))
        answer = await visit.questions.ask(_SERVICE, _stub(visit).DeactivateFunnel, asked)
        trouble = isinstance(answer, Failure)
        told = answer.text if isinstance(answer, Failure) else f"{answer.funnel.name} is inactive."
        return visit.back("funnels", {"funnel": asked.funnel_id}, Notice(told, trouble=trouble))

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        choice = choosing.read(violations, request.query_params)
        violations.raise_if_any()
        return visit, choice


async def _seen(visit: "Visit", choice: "Choice") -> "tuple[Choice, dict[str, object]]":
    """Return the funnel that is shown, and what the template shows of it."""
    values: dict[str, object] = {"listed": None, "more": False, "one": None}
    asked = pb.ListFunnelsRequest(page_size=_PAGE)
    listed = await visit.questions.ask(_SERVICE, _stub(visit).ListFunnels, asked)
    if isinstance(listed, Failure):
        return choice, values | {"listed": listed}
    values["listed"] = [table.listed(each) for each in listed.funnels]
    values["more"] = bool(listed.next_page_token)
    choice = replace(choice, funnel=choice.funnel or table.first(listed.funnels))
    if not choice.funnel:
        return choice, values
    funnel = await visit.questions.ask(
        _SERVICE, _stub(visit).GetFunnel, pb.GetFunnelRequest(funnel_id=choice.funnel)
    )
    if isinstance(funnel, Failure):
        return choice, values | {"one": funnel}
    values["one"] = table.listed(funnel.funnel)
    return choice, values | await _counted(visit, choice, funnel.funnel)


async def _counted(visit: "Visit", choice: "Choice", funnel: pb.Funnel) -> dict[str, object]:
    found, lost, before, people, journey = await asyncio.gather(
        _results(visit, choice),
        _dropoff(visit, choice),
        _before(visit, choice),
        _people(visit, choice, step_people.step_names(funnel)),
        _journey(visit, choice),
    )
    earlier = None if before is None or isinstance(before, Failure) else before.total
    shown = found if isinstance(found, Failure) else steps.shown(found.results, choice.by, earlier)
    segments = lost if isinstance(lost, Failure) else steps.segments(lost)
    return {"found": shown, "segments": segments, "journey": journey, **people}


async def _results(
    visit: "Visit", choice: "Choice", groups: int = choosing.GROUPS
) -> pb.GetFunnelResultsResponse | Failure:
    asked = choosing.results(choice, visit.scope, groups)
    return await visit.questions.ask(_SERVICE, _stub(visit).GetFunnelResults, asked)


async def _dropoff(visit: "Visit", choice: "Choice") -> pb.GetDropoffAnalysisResponse | Failure:
    asked = choosing.dropoff(choice, visit.scope)
    return await visit.questions.ask(_SERVICE, _stub(visit).GetDropoffAnalysis, asked)


async def _page(visit: "Visit", asked: pb.ListStepUsersRequest) -> pb.ListStepUsersResponse | Failure:
    return await visit.questions.ask(_SERVICE, _stub(visit).ListStepUsers, asked)


async def _before(visit: "Visit", choice: "Choice") -> pb.GetFunnelConversionResponse | Failure | None:
    if not visit.scope.compare:
        return None
    asked = choosing.total(choice, visit.scope.previous())
    return await visit.questions.ask(_SERVICE, _stub(visit).GetFunnelConversion, asked)


async def _people(visit: "Visit", choice: "Choice", names: tuple[str, ...]) -> dict[str, object]:
    if not choice.outcome:
        return {"people": None}
    page = await _page(visit, choosing.people(choice, visit.scope))
    if isinstance(page, Failure):
        return {"people": page}
    return {
        "people": step_people.people(page, names, visit.scope.zone),
        "people_title": step_people.title(choice, names, page.user_count),
        "people_left_out": page.user_count > choosing.EXPORTED_PEOPLE,
        "exported_people": choosing.EXPORTED_PEOPLE,
        "next_page_token": page.next_page_token,
    }


async def _journey(visit: "Visit", choice: "Choice") -> "tuple[step_people.Attempt, ...] | Failure | None":
    if not choice.who:
        return None
    asked = choosing.journey(choice, visit.scope)
    answer = await visit.questions.ask(_SERVICE, _stub(visit).GetUserJourney, asked)
    return answer if isinstance(answer, Failure) else step_people.attempts(answer, visit.scope.zone)


async def _names(visit: "Visit", funnel_id: str) -> tuple[str, ...] | Failure:
    asked = pb.GetFunnelRequest(funnel_id=funnel_id)
    answer = await visit.questions.ask(_SERVICE, _stub(visit).GetFunnel, asked)
    return answer if isinstance(answer, Failure) else step_people.step_names(answer.funnel)


def _stub(visit: "Visit") -> "FunnelsServiceAsyncStub":
    return visit.surroundings.services.stub(_SERVICE, FunnelsServiceStub)


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = FunnelsTab(signing)
    return [
        Route("/funnels", tab.show, methods=["GET"]),
        Route("/funnels/steps.csv", tab.steps_file, methods=["GET"]),
        Route("/funnels/people.csv", tab.people_file, methods=["GET"]),
        *(Route(f"/funnels/{act.__name__}", act, methods=["POST"]) for act in (tab.create, tab.deactivate)),
    ]


TAB: Final = Tab("funnels", "Funnels", _routes)
