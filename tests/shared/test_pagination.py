import base64
import json
from collections.abc import Sequence

import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1.events_pb2 import QueryEventsRequest
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from shared import pagination
from shared.errors import InvalidArgument
from shared.pagination import decode_token, encode_token
from shared.validation import Violations

REQUEST = QueryEventsRequest(user_id="ada", events=["viewed"])
KEYS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
)


def refused(request: Message, token: str, kinds: Sequence[type] = (int,)) -> bool:
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
    kinds = [int | str | None] * len(position)
    assert decode_token(violations, REQUEST, encode_token(REQUEST, position), kinds) == position
    violations.raise_if_any()


def test_no_token_is_the_first_page() -> None:
    violations = Violations()
    assert decode_token(violations, REQUEST, "", (int,)) is None
    assert len(violations) == 0


def test_the_next_page_may_have_another_size_but_no_other_conditions() -> None:
    token = encode_token(REQUEST, [1])
    resized = QueryEventsRequest(user_id="ada", events=["viewed"], page_size=7, page_token=token)
    assert decode_token(Violations(), resized, token, (int,)) == [1]
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
    "position", [[1, 2], [], [1.5], [True], [None], [2**63], ["a\0"], ["\ud800"], [[1]], [{}], 1, {}]
)
@pytest.mark.parametrize("kind", [int, str])
def test_positions_sql_could_not_take_are_refused(position: object, kind: type) -> None:
    assert refused(REQUEST, forged(position), [kind])


def test_a_key_of_another_kind_is_refused() -> None:
    assert refused(REQUEST, encode_token(REQUEST, ["1"]), [int])
    assert refused(REQUEST, encode_token(REQUEST, [1]), [str])


def forged(position: object) -> str:
    """A token with any payload; its digest takes no secret to make."""
    payload = json.dumps(position).encode()
    digest = pagination._digest(REQUEST, payload)  # noqa: SLF001 - a forger reads the source as well
    return base64.urlsafe_b64encode(digest + payload).decode()


def test_a_key_may_be_null_only_where_its_kind_says_so() -> None:
    token = encode_token(REQUEST, [None, "a"])
    assert decode_token(Violations(), REQUEST, token, [int | None, str]) == [None, "a"]
    assert refused(REQUEST, token, [int, str])


@pytest.mark.parametrize("key", ["ж" * 4_096, "\x01" * 8_192, "😀" * 2_048, '"' * 8_192])
def test_every_key_of_8_kib_can_be_paged(key: str) -> None:
    position: list[str | int | None] = [2**63 - 1, -(2**63), key]
    token = encode_token(REQUEST, position)
    assert decode_token(Violations(), REQUEST, token, (int, int, str)) == position
