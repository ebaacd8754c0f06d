"""A tab of another service: in its place, on its own where the service is away, acting by forms alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from brain.experiments.v1 import experiments_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import tabs
from gateway.dashboard.page import visits
from gateway.dashboard.page.answers import Failure
from gateway.dashboard.page.frame import PREFIX, Notice
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from shared.auth import Role
from shared.validation import Violations
from tests.gateway.dashboard.conftest import NOW, SCRIPT
from tests.gateway.dashboard.serving import Site, gateway, proof_of
from tests.services.events.conftest import Service

OTHER = f"{PREFIX}/other"


def routes(signing: SigningIn) -> list[BaseRoute]:
    """A tab that asks the experiments service, and shows its answer where retention's would be."""

    async def show(request: Request) -> Response:
        visit = await visits.arrived(signing, request, Violations())
        stub = visit.surroundings.services.stub("experiments", ExperimentsServiceStub)
        asked = experiments_pb2.ListExperimentsRequest()
        found = await visit.questions.ask("experiments", stub.ListExperiments, asked)
        assert isinstance(found, Failure)
        values = {"asked": {"id": "x"}, "kind": "", "rows": (), "trouble": found.text, "next_page_token": ""}
        return visit.page("somebody.html", "other", {"key": "a b"}, values)

    async def act(request: Request) -> Response:
        visit, fields = await visits.posted(signing, request, Violations())
        return visit.back("other", {"key": "a b"}, Notice(f"Did {fields['what']}", trouble=True))

    return [Route("/other", show, methods=["GET"]), Route("/other/act", act, methods=["POST"])]


@pytest.fixture
def before(
    events_service: Service, dashboard_key_file: Path, token_for: Callable[..., str]
) -> Iterator[Callable[[str], httpx.Client]]:
    """(address of experiments) -> somebody before a dashboard with one more tab, which asks there."""
    port = events_service.application.server.port
    shown = (*tabs.TABS, Tab("other", "Other", routes))
    with ExitStack() as stack:

        def start(address: str) -> httpx.Client:
            settings = {"experiments_address": address, "call_seconds": 1}
            origin = stack.enter_context(gateway(port, dashboard_key_file, NOW.timestamp, shown, **settings))
            return stack.enter_context(Site(origin, token_for(Role.ANALYST)).signed_in())

        yield start


@pytest.fixture
def visitor(before: Callable[[str], httpx.Client]) -> httpx.Client:
    """Somebody where no address of the experiments service is known."""
    return before("")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "The experiments service is not connected here: set GATEWAY_EXPERIMENTS_ADDRESS."),
        ("127.0.0.1:1", "The experiments service does not answer at the moment."),
    ],
)
def test_a_service_that_is_away_leaves_the_rest(
    before: Callable[[str], httpx.Client], address: str, said: str
) -> None:
    visitor = before(address)
    page = visitor.get(OTHER)
    assert page.status_code == 200
    assert said in page.text
    assert "Try again" in page.text
    assert f'aria-keyshortcuts="{len(tabs.TABS) + 1}" aria-current="page">Other</a>' in page.text
    events = visitor.get(f"{PREFIX}/events").text
    assert "Daily active users" in events
    assert "experiments service" not in events


def test_an_action_leads_back_and_tells_once_what_became_of_it(visitor: httpx.Client) -> None:
    proof = proof_of(visitor.get(OTHER).text)
    done = visitor.post(f"{OTHER}/act?range=7d", data={"proof": proof, "what": SCRIPT})
    assert (done.status_code, done.headers["location"]) == (303, f"{OTHER}?range=7d&zone=UTC&key=a+b")
    assert "HttpOnly" in done.headers["set-cookie"]
    page = visitor.get(done.headers["location"]).text
    assert 'role="alert">Did &lt;script&gt;' in page
    assert SCRIPT not in page
    assert "Did" not in visitor.get(done.headers["location"]).text


@pytest.mark.parametrize(
    ("proof", "headers"),
    [
        ("", {}),
        ("0" * 64, {}),
        (None, {"sec-fetch-site": "cross-site"}),
        (None, {"sec-fetch-site": "same-site"}),
    ],
)
def test_an_action_from_elsewhere_is_refused(
    visitor: httpx.Client, proof: str | None, headers: dict[str, str]
) -> None:
    ours = proof_of(visitor.get(OTHER).text)
    fields = {"proof": ours if proof is None else proof, "what": "x"}
    refused = visitor.post(
        f"{OTHER}/act", data=fields, headers={**headers, "referer": f"http://x{OTHER}?zone=UTC"}
    )
    assert refused.status_code == 403
    # To try again is to open the page with the form, for the form's own address only takes posts.
    assert f'href="{OTHER}?zone=UTC">Try again' in refused.text


def test_without_signing_in_forms_are_proven_all_the_same(
    events_service: Service, dashboard_key_file: Path
) -> None:
    port = events_service.application.server.port
    shown = (Tab("other", "Other", routes),)
    with (
        gateway(
            port, dashboard_key_file, NOW.timestamp, shown, auth="off", token_public_key_file=None
        ) as origin,
        Site(origin, "").browser() as client,
    ):
        page = client.get(OTHER).text
        proof = proof_of(page)
        assert "Sign out" not in page
        assert client.post(f"{OTHER}/act", data={"what": "x"}).status_code == 403
        assert client.post(f"{OTHER}/act", data={"proof": proof, "what": "x"}).status_code == 303
