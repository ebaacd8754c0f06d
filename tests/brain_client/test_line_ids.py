from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from brain_client.line_ids import line_ids


@given(st.uuids(), st.integers(min_value=0))
def test_ids_are_those_of_the_standard_library(namespace: UUID, number: int) -> None:
    assert line_ids(namespace)(number) == str(uuid5(namespace, str(number)))
