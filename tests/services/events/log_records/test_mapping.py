"""What becomes of a log record's fields."""

import json

import pytest
from brain.events.v1.events_pb2 import Event
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from services.events.domain import UserKind
from services.events.log_records.export import Refused, read_export
from services.events.log_records.mapping import Mapper
from services.events.log_records.values import nested
from tests.services.events.log_records.exporting import NANOS, attributes, record, request

MAPPER = Mapper(lambda who: f"session of {who[0].name} {who[1]}")
MAP = AnyValue(kvlist_value=KeyValueList(values=attributes(a__b=1, list="no")))
LIST = AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(), MAP]))


def event(made: LogRecord, **resource: object) -> Event:
    """Return the event of a record, which is one."""
    export = read_export(request(made, **resource), MAPPER)
    assert not export.refused
    return export.events[0]


def properties(made: LogRecord, **resource: object) -> object:
    return json.loads(event(made, **resource).properties_json or "{}")


def refused(made: LogRecord, **resource: object) -> Refused:
    """Return why a record is no event."""
    export = read_export(request(made, **resource), MAPPER)
    assert not export.events
    [found] = export.refused
    return found


def test_the_name_is_the_field_else_the_older_attribute() -> None:
    assert event(record("new", event__name="old", user__id="ann")).event == "new"
    assert event(record("", event__name="old", user__id="ann")).event == "old"
    assert refused(record("", event__name=7, user__id="ann")).field == "event_name"


def test_the_time_is_when_it_happened_else_when_it_was_observed() -> None:
    both = LogRecord(event_name="e", time_unix_nano=NANOS, observed_time_unix_nano=NANOS + 5_000)
    both.attributes.extend(attributes(user__id="ann"))
    assert event(both).event_time.ToNanoseconds() == NANOS
    both.time_unix_nano = 0
    assert event(both).event_time.ToNanoseconds() == NANOS + 5_000
    both.observed_time_unix_nano = 0
    assert refused(both).field == "time_unix_nano"


@pytest.mark.parametrize(
    ("given", "who"),
    [
        ({"user__id": "ann"}, ("ann", "")),
        ({"user__id": 7}, ("7", "")),
        ({"user__id": "ann", "enduser__id": "bob"}, ("ann", "")),
        ({"enduser__id": "bob"}, ("bob", "")),
        ({"app__installation__id": "phone"}, ("", "phone")),
        ({"enduser__pseudo__id": "p"}, ("", "p")),
        ({"user__id": "ann", "app__installation__id": "phone"}, ("ann", "phone")),
        ({"user__id": "", "session__id": "s"}, ("", "")),
    ],
)
def test_who_it_was_is_told_by_the_record_or_its_resource(
    given: dict[str, object], who: tuple[str, str]
) -> None:
    for found in (event(record(**given)), event(record(), **given)):
        assert (found.user_id, found.anonymous_id) == who


def test_the_record_knows_better_than_its_resource() -> None:
    found = event(record(enduser__id="ann", session__id="s"), user__id="bob", session__id="t")
    assert (found.user_id, found.session_id) == ("ann", "s")


def test_a_session_left_open_is_named_after_whose_it_is() -> None:
    assert event(record(user__id="ann")).session_id == f"session of {UserKind.USER.name} ann"
    both = record(user__id="ann", app__installation__id="phone")
    assert event(both).session_id == "session of USER ann"
    assert event(record(app__installation__id="phone")).session_id == "session of ANONYMOUS phone"
    assert event(record(session__id="s")).session_id == "s"
    assert refused(record()).field == 'attributes["session.id"]'


@pytest.mark.parametrize("name", ["user.id", "session.id", "log.record.uid", "app.installation.id"])
@pytest.mark.parametrize("value", [True, 1.5, LIST], ids=["bool", "double", "list"])
def test_an_id_that_is_no_text_is_refused(name: str, value: object) -> None:
    made = record(**{name: value, "enduser.pseudo.id": "p"})
    assert refused(made).field == f'attributes["{name}"]'


def test_ids_and_addresses_are_no_properties() -> None:
    ids = ("user__id", "enduser__id", "enduser__pseudo__id", "app__installation__id", "session__id")
    others = ("log__record__uid", "event__name", "user_agent__original")
    addresses = ("client__address", "network__peer__address", "source__address", "net__peer__ip")
    made = record(**dict.fromkeys((*ids, *others, *addresses), "x"), kept=1)
    made.body.kvlist_value.values.extend(attributes(user__id="ann", client__address="192.0.2.1"))
    assert properties(made, **dict.fromkeys(ids, "y")) == {"kept": 1}


def test_ids_and_addresses_are_no_properties_within_maps_either() -> None:
    user = AnyValue(kvlist_value=KeyValueList(values=attributes(id="ann", plan="pro")))
    client = AnyValue(kvlist_value=KeyValueList(values=attributes(address="192.0.2.1", port=80)))
    made = record(user__id="ann", user=user)
    made.body.kvlist_value.values.extend(attributes(client=client, source="a text", enduser__id="ann"))
    assert properties(made) == {"user": {"plan": "pro"}, "client": {"port": 80}, "source": "a text"}
    headers = {"http.request.header.x-forwarded-for": LIST, "http.request.header.accept": "text/html"}
    kept = {"http": {"request": {"header": {"accept": "text/html"}}}}
    assert properties(record(user__id="ann", **headers)) == kept


def test_values_are_kept_as_they_are() -> None:
    plain = {"t": "é", "b": False, "i": -(2**63), "d": 0.1, "whole": 2.0}
    made = record(user__id="ann", x=b"\xff\0", n=AnyValue(), l=LIST, m=MAP, **plain)
    inner = {"a.b": 1, "list": "no"}
    assert properties(made) == {**plain, "x": "/wA=", "n": None, "l": [1, None, inner], "m": inner}


def test_a_body_adds_to_the_properties() -> None:
    assert properties(record(user__id="ann", list="yes", body=MAP)) == {"a": {"b": 1}, "list": "yes"}
    assert properties(record(user__id="ann", body=AnyValue(string_value="said"))) == {"body": "said"}
    assert properties(record(user__id="ann", body=LIST)) == {"body": [1, None, {"a.b": 1, "list": "no"}]}
    assert event(record(user__id="ann")).properties_json == ""


def test_of_a_resource_the_application_is_kept() -> None:
    resource = {
        "service__name": "shop",
        "service__version": "1.2",
        "deployment__environment__name": "test",
        "host__name": "web-3",
        "process__pid": 7,
    }
    assert properties(record(user__id="ann"), **resource) == {
        "service": {"name": "shop", "version": "1.2"},
        "deployment": {"environment": {"name": "test"}},
    }
    assert properties(record(user__id="ann", service__name="own"), **resource)["service"]["name"] == "own"  # type: ignore[index]  # JSON


@pytest.mark.parametrize(
    ("given", "amount", "category"),
    [
        ({"revenue": 9.5, "value": 3}, 9.5, "revenue"),
        ({"revenue": "9.5", "value": 3}, 3.0, ""),
        ({"value": True}, None, ""),
        ({}, None, ""),
    ],
)
def test_the_amount_is_the_revenue_else_the_value(
    given: dict[str, object], amount: float | None, category: str
) -> None:
    found = event(record(user__id="ann", **given))
    assert (found.value if found.HasField("value") else None, found.category) == (amount, category)


def test_pages_and_agents_are_cut_to_what_an_event_takes() -> None:
    found = event(record(user__id="ann", url__path="/" + "x" * 5_000), user_agent__original="a" * 5_000)
    assert (len(found.page), len(found.user_agent)) == (2_000, 2_000)
    assert event(record(user__id="ann", app__screen__name="Basket")).page == "Basket"


def test_names_that_stand_in_each_others_way_stay_whole() -> None:
    assert nested({"a.b": 1, "a": 2, "a.b.c": 3}) == {"a": 2, "a.b": 1, "a.b.c": 3}
    assert nested({"a": {"b": 1}, "a.b": 2, "a.c": 3}) == {"a": {"b": 1, "c": 3}, "a.b": 2}
    odd = {"": 1, ".": 2, "a.": 3, ".b": 4, "c..d": 5, ".".join("12345678"): 6, ".".join("123456789"): 7}
    found = nested(odd)
    assert {name: value for name, value in found.items() if name != "1"} == {
        name: value for name, value in odd.items() if not name.startswith("1") or len(name) > 15
    }


def test_nothing_of_a_resource_spoils_its_records() -> None:
    nan = float("nan")
    assert event(record(user__id="ann"), service__name=nan, user__id=nan, host__load=nan).user_id == "ann"
