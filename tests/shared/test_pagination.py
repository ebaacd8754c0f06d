import base64

import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1.events_pb2 import QueryEventsRequest
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidArgument
from shared.pagination import decode_token, encode_token
from shared.validation import Violations

REQUEST = QueryEventsRequest(user_id="ada", events=["viewed"])
KEYS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
)


def refused(request: Message, token: str, kinds: list[type[str] | type[int]] | None = None) -> bool:
    violations = Violations()
    assert decode_token(violations, request, token, kinds) is None
    try:
        violations.raise_if_any()
    except InvalidArgument as error:
        return error.violations[0].field == "page_token"
    return False


@given(st.lists(KEYS, max_size=5))
def test_a_token_brings_its_position_back(position: list[str | int | None]) -> None:
    violations = Violations()
    assert decode_token(violations, REQUEST, encode_token(REQUEST, position)) == position
    violations.raise_if_any()


def test_no_token_is_the_first_page() -> None:
    violations = Violations()
    assert decode_token(violations, REQUEST, "") is None
    assert len(violations) == 0


def test_the_next_page_may_have_another_size_but_no_other_conditions() -> None:
    token = encode_token(REQUEST, [1])
    resized = QueryEventsRequest(user_id="ada", events=["viewed"], page_size=7, page_token=token)
    assert decode_token(Violations(), resized, token) == [1]
    assert refused(QueryEventsRequest(user_id="bob", events=["viewed"]), token)


def test_a_token_of_another_call_is_refused() -> None:
    assert refused(ListMetricsRequest(), encode_token(ListAuditEntriesRequest(), [1]))


@pytest.mark.parametrize(
    "token", ["x", "====", "é", "A" * 100, "A" * 10_000_000, "\ud800", "W10", "../../etc/passwd"]
)
def test_forged_and_broken_tokens_are_violations(token: str) -> None:
    assert refused(REQUEST, token)


def test_an_edited_position_is_refused() -> None:
    raw = base64.urlsafe_b64decode(encode_token(REQUEST, [12]) + "==")
    assert refused(REQUEST, base64.urlsafe_b64encode(raw.replace(b"12", b"13")).decode())


@pytest.mark.parametrize(
    "position", [["1"], [1, 2], [], [1.5], [True], [2**63], ["a\0"], ["\ud800"], [[1]], [{}]]
)
def test_positions_sql_could_not_take_are_refused(position: list[object]) -> None:
    token = encode_token(REQUEST, position)  # type: ignore[arg-type]  # what a forger would write
    assert refused(REQUEST, token, [int])


def test_positions_of_the_right_kinds_pass() -> None:
    positions: list[list[str | int | None]] = [[1, "a"], [None, "a"]]
    for position in positions:
        assert decode_token(Violations(), REQUEST, encode_token(REQUEST, position), [int, str]) == position
