"""The libraries themselves, unmodified: every event they send arrives once."""

from collections import Counter
from collections.abc import Iterator

import posthog
import pytest
from rudderstack.analytics import request as rudderstack_request
from rudderstack.analytics.client import Client as RudderStackClient
from segment.analytics import request as segment_request
from segment.analytics.client import Client as SegmentClient

from tests.gateway.capture.test_endpoints import stored
from tests.gateway.conftest import WRITE_KEY, Gateway

EVENTS = 250
PEOPLE = 7


@pytest.fixture(autouse=True)
def closed_sessions() -> Iterator[None]:
    """Closes the connections that two of the libraries keep for ever."""
    yield
    for session in (segment_request._session, rudderstack_request._session):  # noqa: SLF001 - nothing else closes them
        session.close()


def arrived(gateway: Gateway) -> Counter[str]:
    return Counter(event.event for event in stored(gateway))


@pytest.mark.parametrize("packed", [False, True])
def test_segment(gateway: Gateway, packed: bool) -> None:  # noqa: FBT001 - pytest names it
    errors: list[object] = []
    client = SegmentClient(
        WRITE_KEY, host=gateway.url, gzip=packed, on_error=lambda error, _: errors.append(error)
    )
    for number in range(EVENTS):
        client.track(f"u{number % PEOPLE}", "bought", {"revenue": 0.5, "number": number})
    client.identify("u1", {"plan": "pro"}, anonymous_id="browser")
    client.alias("old", "u2")
    client.page("u1", "docs", "home", {"path": "/home"})
    client.screen("u1", "docs", "home")
    client.group("u1", "team", {"size": 3})
    client.flush()
    client.join()
    assert errors == []
    found = stored(gateway)
    assert arrived(gateway) == {
        "bought": EVENTS,
        **dict.fromkeys(("identify", "alias", "page", "screen", "group"), 1),
    }
    assert sum(event.value for event in found) == EVENTS / 2
    assert {event.user_id for event in found if event.event == "bought"} == {f"u{n}" for n in range(PEOPLE)}


@pytest.mark.parametrize("packed", [False, True])
def test_rudderstack(gateway: Gateway, packed: bool) -> None:  # noqa: FBT001 - pytest names it
    errors: list[object] = []
    client = RudderStackClient(
        WRITE_KEY, host=gateway.url, gzip=packed, on_error=lambda error, _: errors.append(error)
    )
    for number in range(EVENTS):
        client.track(f"u{number % PEOPLE}", "bought", {"revenue": 0.5, "number": number})
    client.identify("u1", {"plan": "pro"}, anonymous_id="browser")
    client.alias("old", "u2")
    client.page("u1", "docs", "home", {"path": "/home"})
    client.screen("u1", "docs", "home")
    client.group("u1", "team", {"size": 3})
    client.flush()
    client.join()
    assert errors == []
    assert arrived(gateway) == {
        "bought": EVENTS,
        **dict.fromkeys(("identify", "alias", "page", "screen", "group"), 1),
    }
    (alias,) = stored(gateway, events=["alias"])
    assert (alias.user_id, alias.anonymous_id) == ("u2", "old")


@pytest.mark.parametrize("packed", [False, True])
def test_posthog(gateway: Gateway, packed: bool) -> None:  # noqa: FBT001 - pytest names it
    errors: list[object] = []
    client = posthog.Posthog(
        WRITE_KEY, host=gateway.url, gzip=packed, on_error=lambda error, _: errors.append(error)
    )
    for number in range(EVENTS):
        client.capture("bought", distinct_id=f"u{number % PEOPLE}", properties={"revenue": 0.5})
    client.set(distinct_id="u1", properties={"plan": "pro"})
    client.alias(previous_id="browser", distinct_id="u1")
    client.capture("passed by")
    client.shutdown()
    assert errors == []
    assert arrived(gateway) == {"bought": EVENTS, "$set": 1, "$create_alias": 1, "passed by": 1}
    assert [one.user_id for one in stored(gateway, events=["passed by"])] == [""]
    (alias,) = stored(gateway, events=["$create_alias"])
    assert (alias.user_id, alias.anonymous_id) == ("u1", "browser")


def test_a_batch_whose_answer_was_lost_is_stored_once(gateway: Gateway) -> None:
    """The library posts a second time what it already posted, as it does after a broken connection."""
    sent: list[dict[str, object]] = []
    client = SegmentClient(WRITE_KEY, host=gateway.url, send=False)
    for number in range(EVENTS):
        _, message = client.track("ada", "bought", {"number": number})
        sent.append(message)
    for _ in range(2):
        segment_request.post(WRITE_KEY, gateway.url, batch=sent)
    assert arrived(gateway) == {"bought": EVENTS}
