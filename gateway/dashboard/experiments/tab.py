"""The tab A/B Tests."""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from starlette.routing import BaseRoute, Route

from gateway.dashboard.experiments import course, shown
from gateway.dashboard.overview import headline
from gateway.dashboard.page import visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.frame import Notice
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from shared.validation import Violations, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceAsyncStub
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit

_SERVICE: Final = "experiments"
_PAGE: Final = 200
_DECISIONS: Final = 10
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """What the tab shows. It lives in the page's address."""

    key: str
    # Of one metric: how it developed, and its results by an attribute. Empty: the primary one, and none.
    metric: str = ""
    by: str = ""

    def parameters(self, key: str) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        given = {"key": key, "metric": self.metric, "by": self.by}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class ExperimentsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the list, and one experiment."""
        visit, choice = await self._chosen(request)
        key = choice.key
        above, found = await asyncio.gather(
            headline.read(visit),
            _listed(visit),
        )
        values: dict[str, object] = {"overview": above, "listed": found, "one": None, "key": key}
        if not isinstance(found, Failure):
            now = visit.scope.now
            values["listed"] = [shown.listed(each, now) for each in found.experiments]
            values["more"] = bool(found.next_page_token)
            values["key"] = key = key or shown.first(found.experiments)
            if key:
                values |= await _one(visit, replace(choice, key=key))
        return visit.page("experiments.html", "experiments", choice.parameters(key), values)

    async def file(self, request: "Request") -> "Response":
        """Return results as CSV."""
        visit, choice = await self._chosen(request)
        found = answered(await _results(visit, choice.key))
        return visits.file(f"results-{choice.key}", shown.CSV_HEADER, shown.exported(found.results))

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

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        given = {name: request.query_params.get(name, "") for name in ("key", "metric", "by")}
        for name, value in given.items():
            text(violations, name, value, maximum=_LONGEST_NAME, required=False)
        violations.raise_if_any()
        return visit, Choice(**given)


async def _one(visit: "Visit", choice: Choice) -> dict[str, object]:
    """Return what the template shows of one experiment."""
    asked = pb.GetExperimentRequest(experiment_key=choice.key)
    experiment = await visit.questions.ask(_SERVICE, _stub(visit).GetExperiment, asked)
    if isinstance(experiment, Failure):
        return {"one": experiment}
    one = shown.chosen(experiment.experiment, visit.scope.now)
    values: dict[str, object] = {"one": one, "found": None, "decisions": (), "decision_id": str(uuid4())}
    if one.is_draft:
        return values
    metric = _metric(experiment.experiment, choice.metric)
    by = choice.by if choice.by in one.attributes else ""
    found, over_time, log = await asyncio.gather(
        _results(visit, choice.key, by),
        _over_time(visit, choice.key, metric),
        _log(visit, choice.key),
    )
    values |= {"metric": metric.name, "by": by, "found": found, "course": over_time}
    if not isinstance(found, Failure):
        values["found"] = shown.found(experiment.experiment, found.results)
        values["segments"] = shown.segments(found, metric.name)
        values["left_out_values"] = found.left_out_values
    if not isinstance(log, Failure):
        values["decisions"] = [shown.decided(each, visit.scope.zone) for each in log.decisions]
    return values


async def _listed(visit: "Visit") -> pb.ListExperimentsResponse | Failure:
    asked = pb.ListExperimentsRequest(page_size=_PAGE, with_participants=True)
    return await visit.questions.ask(_SERVICE, _stub(visit).ListExperiments, asked)


def _metric(experiment: pb.Experiment, name: str) -> pb.Metric:
    """Return the metric of this name, else the primary one."""
    metrics = experiment.definition.metrics
    named = (each for each in metrics if each.name == name)
    return next(named, next(each for each in metrics if not each.guardrail))


async def _over_time(visit: "Visit", key: str, metric: pb.Metric) -> course.Course | Failure:
    zone = visit.scope.zone
    asked = pb.GetResultsOverTimeRequest(experiment_key=key, metric=metric.name, time_zone=zone.key)
    found = await visit.questions.ask(_SERVICE, _stub(visit).GetResultsOverTime, asked)
    return found if isinstance(found, Failure) else course.course(metric, found, zone)


async def _results(visit: "Visit", key: str, by: str = "") -> pb.GetResultsResponse | Failure:
    asked = pb.GetResultsRequest(experiment_key=key, break_down_attribute=by)
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
