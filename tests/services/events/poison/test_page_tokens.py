"""Page tokens that belong to another question, are damaged or made up: each is refused by name."""

import base64
from functools import partial
from typing import Any
from uuid import UUID

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    TimeRange,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import (
    ListMetricsRequest,
)
from google.protobuf.message import Message

from shared.pagination import encode_token
from tests.refusals import attempt
from tests.services.events.conftest import Service
from tests.services.events.poison.calls import CALLS, DAY, at, check

INT64 = 2**63
PAGED: dict[str, Any] = {
    "QueryEvents": pb.QueryEventsRequest(page_size=1),
    "CountEvents": pb.CountEventsRequest(time_range=DAY, group_by=pb.COUNT_GROUP_EVENT, page_size=1),
    "ListMetrics": ListMetricsRequest(page_size=1),
}


@pytest.fixture
def tokens(service: Service) -> dict[str, str]:
    """Real ones."""
    day = [
        pb.Event(session_id="s", event=name, event_id=name, event_time=at(2011, 11, 10))
        for name in ("a", "b", "c")
    ]
    service.events.TrackEvents(pb.TrackEventsRequest(events=day))
    found = {name: ask(service, name, request).next_page_token for name, request in PAGED.items()}
    assert all(found.values())
    return found


def ask(service: Service, name: str, request: Message) -> Any:  # noqa: ANN401 - the answer of whatever call
    return CALLS[name][1](service, request)


def with_token(name: str, token: str) -> Any:  # noqa: ANN401 - the request of whatever call
    request: Any = type(CALLS[name][0])()
    request.CopyFrom(PAGED.get(name, CALLS[name][0]))
    request.page_token = token
    return request


@pytest.mark.parametrize("name", PAGED)
def test_a_token_continues_its_own_question(service: Service, tokens: dict[str, str], name: str) -> None:
    request = with_token(name, tokens[name])
    first, second = ask(service, name, PAGED[name]), ask(service, name, request)
    assert first.SerializeToString() != second.SerializeToString()
    request.page_size = 2
    ask(service, name, request)


@pytest.mark.parametrize("name", PAGED)
def test_a_token_of_another_call_is_refused(service: Service, tokens: dict[str, str], name: str) -> None:
    for other in PAGED:
        if other != name:
            check(service, name, with_token(name, tokens[other]), "page_token")


@pytest.mark.parametrize("name", ["QueryEvents", "CountEvents"])
def test_a_token_of_other_conditions_is_refused(service: Service, tokens: dict[str, str], name: str) -> None:
    year = TimeRange(start_time=at(2011), end_time=at(2012))
    for changes in ({"events": ["a"]}, {"category": "c"}, {"time_range": year}):
        request = with_token(name, tokens[name])
        for field in changes:
            request.ClearField(field)
        request.MergeFrom(type(request)(**changes))
        check(service, name, request, "page_token")


@pytest.mark.parametrize("name", [*PAGED, "ListAuditEntries"])
def test_damaged_tokens_are_refused(service: Service, tokens: dict[str, str], name: str) -> None:
    token = tokens.get(name, tokens["QueryEvents"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    flipped = (bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]]) for place in range(len(raw)))
    made_up = [token[:-2], token[1:], token + "AAAA", token.swapcase(), token * 100]
    made_up += ["x", "=", "\u00e9", " ", "\0", "A" * 10_000]
    made_up += [base64.urlsafe_b64encode(each).decode() for each in flipped]
    for damaged in made_up:
        check(service, name, with_token(name, damaged), "page_token")


NO_ID = str(UUID(int=0))
# Whoever reads the code can put a proper digest around any position.
FORGED: dict[str, list[list[str | int | None]]] = {
    "QueryEvents": [
        [],
        [1],
        ["a", "b", "c"],
        [None, None, None],
        [1, 1, None],
        [1, None, "x"],
        [1, 1, "no uuid"],
        [INT64 - 1, 1, NO_ID],
        [-INT64, 1, NO_ID],
        [1, INT64 - 1, NO_ID],
        [1, -INT64, NO_ID],
    ],
    "CountEvents": [[], [1], ["a", 1], [None, None], [1, None], [None, "a"], [1, 1]],
    "ListMetrics": [[], [1], [None], ["a", "b"]],
    "ListAuditEntries": [[], ["a"], [None], [1, 1]],
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens_are_refused_or_lead_nowhere(service: Service, name: str) -> None:
    for position in FORGED[name]:
        request = with_token(name, "")
        request.page_token = encode_token(request, position)
        refused = attempt(partial(ask, service, name, request))
        if refused is not None:
            assert (refused.code, set(refused.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"page_token"})


@pytest.mark.parametrize("group", [pb.COUNT_GROUP_EVENT, pb.COUNT_GROUP_USER, pb.COUNT_GROUP_PROPERTY])
def test_forged_positions_among_groups_do_no_harm(service: Service, group: pb.CountGroup.ValueType) -> None:
    positions: list[list[str | int | None]] = [[INT64 - 1, "a"], [-INT64, ""], [0, "é"], [1, "'; --"]]
    for position in positions:
        request = pb.CountEventsRequest(time_range=DAY, group_by=group)
        if group == pb.COUNT_GROUP_PROPERTY:
            request.group_property = "p"
        request.page_token = encode_token(request, position)
        service.events.CountEvents(request)
