"""What is shown while there is nothing, and while nothing answers."""

import html
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW, minted
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service, running


@pytest.fixture
def lonely(
    events_database: str, dashboard_key_file: Path, token_keys: tuple[bytes, bytes]
) -> Iterator[tuple[Service, httpx.Client]]:
    """An events service without an event, and somebody signed in before it."""
    with running(events_database, Clock(), token_keys[0], dashboard_key_file) as service:
        port = service.application.server.port
        with (
            gateway(port, dashboard_key_file, NOW.timestamp, call_seconds=1) as origin,
            Site(origin, minted(token_keys[0])).signed_in() as client,
        ):
            yield service, client


def test_an_empty_service_says_how_to_send_an_event(lonely: tuple[Service, httpx.Client]) -> None:
    page = lonely[1].get(f"{PREFIX}/events").text
    assert "Send the first event" in page
    assert 'data-act="copy"' in page
    assert "No event on these days." in page
    assert "No event yet." in page
    assert "No event matches." in lonely[1].get(f"{PREFIX}/events?by=event").text
    assert "Worth a look" not in page


@pytest.mark.peers
def test_the_command_for_a_first_event_works_as_it_stands(
    events_database: str, dashboard_key_file: Path, token_keys: tuple[bytes, bytes]
) -> None:
    capturing: dict[str, Any] = {
        "write_keys": "web:a'key",
        "ingest_token": minted(token_keys[0], Role.INGEST),
    }
    with running(events_database, Clock(), token_keys[0], dashboard_key_file) as service:
        port = service.application.server.port
        with (
            gateway(port, dashboard_key_file, NOW.timestamp, **capturing) as origin,
            Site(origin, minted(token_keys[0])).signed_in() as client,
        ):
            page = client.get(f"{PREFIX}/events").text
            command = html.unescape(re.search(r'<code id="command">(.*?)</code>', page)[1])  # type: ignore[index]
            subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=20)
            after = client.get(f"{PREFIX}/events").text
    assert "signed_up" in after
    assert "Send the first event" not in after


def test_each_part_says_that_the_service_is_away_and_offers_another_try(
    lonely: tuple[Service, httpx.Client],
) -> None:
    service, client = lonely
    service.application.stop()
    answer = client.get(f"{PREFIX}/events")
    assert answer.status_code == 200
    # Cards, trend, top events, feed.
    assert answer.text.count("The events service does not answer at the moment.") == 4
    assert answer.text.count('role="alert"><p>') == 4
    assert "Send the first event" not in answer.text
    assert client.get(f"{PREFIX}/events/top.csv").status_code in {503, 504}
    assert "does not answer" in client.get(f"{PREFIX}/user?id=1").text
