"""The tab A/B Tests."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from starlette.routing import BaseRoute, Route

from gateway.dashboard import experiments, visits
from gateway.dashboard.answers import Failure, answered
from gateway.dashboard.frame import Notice, Tab
from gateway.dashboard.signing_in import SigningIn
from shared.validation import Violations, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceAsyncStub
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.visits import Visit

_SERVICE: Final = "experiments"
_PAGE: Final = 200
_DECISIONS: Final = 10
_LONGEST_KEY: Final = 100


@dataclass(frozen=True)
class ExperimentsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the list, and one experiment."""
        visit, key = await self._chosen(request)
        above, found = await asyncio.gather(
            visits.overview(visit),
            _listed(visit),
        )
        values: dict[str, object] = {"overview": above, "listed": found, "one": None, "key": key}
        if not isinstance(found, Failure):
            now = visit.scope.now
            values["listed"] = [experiments.listed(each, now) for each in found.experiments]
            values["more"] = bool(found.next_page_token)
            values["key"] = key = key or experiments.first(found.experiments)
            if key:
                values |= await _one(visit, key)
        return visit.page("experiments.html", "experiments", {"key": key} if key else {}, values)

    async def file(self, request: "Request") -> "Response":
        """Return results as CSV."""
        visit, key = await self._chosen(request)
        found = answered(await _results(visit, key))
        return visits.file(f"results-{key}", experiments.CSV_HEADER, experiments.exported(found.results))

    async def start(self, request: "Request") -> "Response":
        """Start an experiment."""
        return await self._act(
            request,
            "is running",
            lambda visit, key, _: visit.questions.ask(
                _SERVICE, _stub(visit).StartExperiment, pb.StartExperimentRequest(experiment_key=key)
            ),
        )

    async def pause(self, request: "Request") -> "Response":
        """Pause an experiment."""
        return await self._act(
            request,
            "is paused",
            lambda visit, key, _: visit.questions.ask(
                _SERVICE, _stub(visit).PauseExperiment, pb.PauseExperimentRequest(experiment_key=key)
            ),
        )

    async def complete(self, request: "Request") -> "Response":
        """End an experiment without a winner."""
        return await self._act(
            request,
            "is completed",
            lambda visit, key, _: visit.questions.ask(
                _SERVICE, _stub(visit).CompleteExperiment, pb.CompleteExperimentRequest(experiment_key=key)
            ),
        )

    async def declare(self, request: "Request") -> "Response":
        """Declare a winner."""

        def declared(visit: "Visit", key: str, fields: dict[str, str]) -> "Awaitable[object]":
            asked = pb.DeclareWinnerRequest(
                decision_id=fields.get("decision_id", ""),
                experiment_key=key,
                variant=fields.get("variant", ""),
                metric=fields.get("metric", ""),
                override_reason=fields.get("override_reason", ""),
            )
            return visit.questions.ask(_SERVICE, _stub(visit).DeclareWinner, asked)

        return await self._act(request, "has a winner", declared)

    async def _act(
        self,
        request: "Request",
        done: str,
        act: "Callable[[Visit, str, dict[str, str]], Awaitable[object]]",
    ) -> "Response":
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        violations.raise_if_any()
        key = fields.get("key", "")
        answer = await act(visit, key, fields)
        trouble = isinstance(answer, Failure)
        notice = Notice(answer.text if isinstance(answer, Failure) else f"{key} {done}.", trouble=trouble)
        return visit.back("experiments", {"key": key}, notice)

    async def _chosen(self, request: "Request") -> "tuple[Visit, str]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        key = request.query_params.get("key", "")
        text(violations, "key", key, maximum=_LONGEST_KEY, required=False)
        violations.raise_if_any()
        return visit, key


async def _one(visit: "Visit", key: str) -> dict[str, object]:
    """Return what the template shows of one experiment."""
    asked = pb.GetExperimentRequest(experiment_key=key)
    experiment = await visit.questions.ask(_SERVICE, _stub(visit).GetExperiment, asked)
    if isinstance(experiment, Failure):
        return {"one": experiment}
    one = experiments.chosen(experiment.experiment, visit.scope.now)
    values: dict[str, object] = {"one": one, "found": None, "decisions": (), "decision_id": str(uuid4())}
    if one.is_draft:
        return values
    found, log = await asyncio.gather(
        _results(visit, key),
        _log(visit, key),
    )
    values["found"] = (
        found if isinstance(found, Failure) else experiments.found(experiment.experiment, found.results)
    )
    if not isinstance(log, Failure):
        values["decisions"] = [experiments.decided(each, visit.scope.zone) for each in log.decisions]
    return values


async def _listed(visit: "Visit") -> pb.ListExperimentsResponse | Failure:
    asked = pb.ListExperimentsRequest(page_size=_PAGE, with_participants=True)
    return await visit.questions.ask(_SERVICE, _stub(visit).ListExperiments, asked)


async def _results(visit: "Visit", key: str) -> pb.GetResultsResponse | Failure:
    asked = pb.GetResultsRequest(experiment_key=key)
    return await visit.questions.ask(_SERVICE, _stub(visit).GetResults, asked)


async def _log(visit: "Visit", key: str) -> pb.ListDecisionsResponse | Failure:
    asked = pb.ListDecisionsRequest(experiment_key=key, page_size=_DECISIONS)
    return await visit.questions.ask(_SERVICE, _stub(visit).ListDecisions, asked)


def _stub(visit: "Visit") -> "ExperimentsServiceAsyncStub":
    return visit.surroundings.services.stub(_SERVICE, ExperimentsServiceStub)


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = ExperimentsTab(signing)
    return [
        Route("/experiments", tab.show, methods=["GET"]),
        Route("/experiments/results.csv", tab.file, methods=["GET"]),
        *(
            Route(f"/experiments/{act.__name__}", act, methods=["POST"])
            for act in (tab.start, tab.pause, tab.complete, tab.declare)
        ),
    ]


TAB: Final = Tab("experiments", "A/B Tests", _routes)
