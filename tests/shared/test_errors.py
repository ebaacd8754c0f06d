import grpc
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import FieldViolation, InvalidArgument, NotFound, ResourceExhausted, Unavailable

# Trailers over 8 KiB are dropped by peers; the message goes twice, percent-encoded once.
ROOM = 8_000


def test_a_reason_travels_for_programs() -> None:
    status = NotFound("no such metric", "METRIC_UNKNOWN").to_status()
    assert (status.code, status.message) == (grpc.StatusCode.NOT_FOUND.value[0], "no such metric")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("METRIC_UNKNOWN", "brain")


def test_a_delay_travels_where_it_is_known() -> None:
    retry = error_details_pb2.RetryInfo()
    assert ResourceExhausted("full", "FULL", retry_seconds=1.5).to_status().details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1_500
    assert len(ResourceExhausted("full", "FULL").to_status().details) == 1


def test_the_message_lists_every_violation() -> None:
    error = InvalidArgument([FieldViolation("a", "is required"), FieldViolation("", "is garbled")])
    assert str(error) == error.message == "a: is required; is garbled"


@given(st.lists(st.builds(FieldViolation, st.text(max_size=3_000), st.text(max_size=3_000)), max_size=30))
def test_a_status_fits_into_trailers_whatever_it_tells(violations: list[FieldViolation]) -> None:
    status = InvalidArgument(violations).to_status()
    assert len(status.message) * 4 + sum(detail.ByteSize() for detail in status.details) < ROOM
    assert status.SerializeToString()


def test_what_protobuf_cannot_hold_is_replaced() -> None:
    assert Unavailable("half \ud800 pair", "AWAY").to_status().message == "half ? pair"
