"""Snapshots: save the view that is shown, list, open and delete what was saved."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import snapshots_pb2 as pb
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Route

from gateway.dashboard.page import sessions, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.frame import PREFIX, Notice
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.snapshots import saved
from shared.validation import Violations

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceAsyncStub
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit

# A view that is no tab and can be kept all the same.
_SOMEBODY = "user"


@dataclass(frozen=True)
class SnapshotsPage:
    """The handlers of the list and its actions."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the list."""
        visit = await self._arrived(request)
        token = request.query_params.get("page", "")
        asked = pb.ListSnapshotsRequest(page_size=saved.PAGE, page_token=token)
        found = await visit.questions.ask("events", _stub(visit).ListSnapshots, asked)
        failed = isinstance(found, Failure)
        values = {
            "rows": () if isinstance(found, Failure) else saved.rows(found.snapshots, visit.scope.zone),
            "trouble": found.text if isinstance(found, Failure) else "",
            "saved": request.query_params.get("saved", ""),
            "next_page_token": "" if isinstance(found, Failure) else found.next_page_token,
        }
        return visit.page("snapshots.html", "", {"page": token} if token and not failed else {}, values)

    async def save(self, request: "Request") -> "Response":
        """Save the view whose parameters stand in the query."""
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        view = fields.get("view", "")
        if view not in _views(visit):
            violations.add("view", "is not known here")
        violations.raise_if_any()
        own = saved.own(request.query_params)
        kept = saved.kept(view, visit.scope, own)
        asked = pb.SaveSnapshotRequest(name=fields.get("name", "").strip(), state_json=saved.written(kept))
        answer = await visit.questions.ask("events", _stub(visit).SaveSnapshot, asked)
        if isinstance(answer, Failure):
            return visit.back(view, own, Notice(f"Nothing was saved. {answer.text}", trouble=True))
        return visit.back("snapshots", {"saved": answer.snapshot.snapshot_id}, Notice("Saved."))

    async def open(self, request: "Request") -> "Response":
        """Lead to the view that a snapshot kept."""
        visit = await self._arrived(request)
        asked = pb.GetSnapshotRequest(snapshot_id=request.query_params.get("id", ""))
        found = await visit.questions.ask("events", _stub(visit).GetSnapshot, asked)
        snapshot = answered(found).snapshot
        view = saved.read(snapshot.state_json, _views(visit))
        if view is None:
            raise HTTPException(404, "this snapshot is not of a view of this dashboard")
        response = RedirectResponse(f"{PREFIX}/{view.name}?{view.query}", 303)
        (row,) = saved.rows([snapshot], visit.scope.zone)
        by = f" by {row.creator}" if row.creator else ""
        told = Notice(f"Snapshot “{row.name}”, saved{by} on {row.time}.")
        sessions.leave_notice(response, told, secure=visit.surroundings.secure_cookies)
        return response

    async def delete(self, request: "Request") -> "Response":
        """Delete a snapshot."""
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        violations.raise_if_any()
        asked = pb.DeleteSnapshotRequest(snapshot_id=fields.get("id", ""))
        deleted = await visit.questions.ask("events", _stub(visit).DeleteSnapshot, asked)
        if isinstance(deleted, Failure):
            return visit.back("snapshots", {}, Notice(deleted.text, trouble=True))
        return visit.back("snapshots", {}, Notice("Deleted." if deleted.deleted else "It was gone already."))

    async def _arrived(self, request: "Request") -> "Visit":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        violations.raise_if_any()
        return visit


def routes(signing: SigningIn) -> list[BaseRoute]:
    """Return the routes of snapshots."""
    page = SnapshotsPage(signing)
    return [
        Route("/snapshots", page.show, methods=["GET"]),
        Route("/snapshots/save", page.save, methods=["POST"]),
        Route("/snapshots/delete", page.delete, methods=["POST"]),
        Route("/snapshot", page.open, methods=["GET"]),
    ]


def _views(visit: "Visit") -> tuple[str, ...]:
    return (*visit.surroundings.tab_titles, _SOMEBODY)


def _stub(visit: "Visit") -> "EventsServiceAsyncStub":
    return visit.surroundings.services.events
