import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from shared.timestamps import from_micros, to_micros

FIRST = -62_135_596_800_000_000
LAST = 253_402_300_799_999_999


@given(st.integers(FIRST, LAST))
def test_microseconds_survive_the_way_there_and_back(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


def test_anything_finer_is_cut_off_also_before_1970() -> None:
    assert to_micros(Timestamp(seconds=1, nanos=1_999)) == 1_000_001
    assert to_micros(Timestamp(seconds=-1, nanos=999_999_999)) == -1


def test_the_years_1_to_9999_are_valid_and_nothing_outside() -> None:
    first, last = Timestamp(), Timestamp()
    first.FromJsonString("0001-01-01T00:00:00Z")
    last.FromJsonString("9999-12-31T23:59:59.999999999Z")
    assert (to_micros(first), to_micros(last)) == (FIRST, LAST)
    assert to_micros(Timestamp(seconds=first.seconds - 1)) is None
    assert to_micros(Timestamp(seconds=last.seconds + 1)) is None


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000, 2**31 - 1])
def test_nanos_outside_a_second_are_invalid(nanos: int) -> None:
    assert to_micros(Timestamp(seconds=1, nanos=nanos)) is None
