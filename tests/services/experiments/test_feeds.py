"""Metrics fed by a real events service, against plain Python over the events that were tracked."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from brain.events.v1 import events_pb2
from brain.events.v1.identity_pb2 import LinkUserRequest
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.experiments.results import identities
from services.experiments.results.feeds import EventFeeds
from services.experiments.results.identities import Identities
from services.experiments.results.scanning import Scanner
from services.experiments.results.warming import warming
from shared.auth import Role, mint_token
from shared.encryption import BlindIndex, Keyring
from shared.people import UserDictionary
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events
from tests.services.experiments.asking import (
    SIGNUP,
    assign,
    assign_all,
    convert,
    create,
    definition,
    results,
    start,
)
from tests.services.experiments.conftest import KEY, Service

HOUR = 3_600_000_000
PRO = PropertyFilter(
    property="plan",
    operator=PropertyOperator.PROPERTY_OPERATOR_EQUALS,
    values=[Value(string_value="pro")],
)
BOUGHT = pb.EventFeed(event="bought")
FED = [
    pb.Metric(name="buyers", kind=pb.METRIC_KIND_CONVERSION, feed=BOUGHT),
    pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT, allow_negative=True),
    pb.Metric(name="per_order", kind=pb.METRIC_KIND_RATIO, feed=BOUGHT),
    pb.Metric(name="pros", kind=pb.METRIC_KIND_CONVERSION, feed=pb.EventFeed(event="bought", filters=[PRO])),
]


@pytest.fixture
def events(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[EventsService]:
    with running_events(events_database, clock, token_keys[0], public_key_file) as service:
        yield service


@pytest.fixture
def service(
    start_service: Callable[..., Service],
    events: EventsService,
    token_keys: tuple[bytes, bytes],
    tmp_path: Path,
) -> Service:
    token = tmp_path / "events.token"
    token.write_text(mint_token(token_keys[0], "experiments", [Role.ANALYST], None, 0))
    address = f"127.0.0.1:{events.application.server.port}"
    return start_service(events_address=address, events_token_file=token)


def bought(number: int, name: str, micros: int, **more: object) -> events_pb2.Event:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    made = events_pb2.Event(
        event_id=f"e-{number}", user_id=name, session_id="s", event="bought", event_time=stamp
    )
    made.MergeFrom(events_pb2.Event(**more))  # type: ignore[arg-type]
    return made


def purchases(count: int, now: int) -> list[events_pb2.Event]:
    """Random ones of the last hundred hours."""
    chance = random.Random(5)
    batch = []
    for number in range(count):
        name = f"u-{chance.randrange(200)}"  # the last forty take no part
        micros = now - chance.randrange(100) * HOUR
        plan = chance.choice(["pro", "free"])
        value = chance.choice([None, round(chance.uniform(-5, 90), 2)])
        batch.append(bought(number, name, micros, value=value, properties_json=f'{{"plan": "{plan}"}}'))
    return batch


def track(events: EventsService, *tracked: events_pb2.Event) -> None:
    assert not events.events.TrackEvents(events_pb2.TrackEventsRequest(events=tracked)).rejections


def recounted(
    batch: list[events_pb2.Event], exposed: dict[str, int], window: int
) -> dict[str, dict[str, list[float]]]:
    """Values by metric and person, of those events that count."""
    counted: dict[str, dict[str, list[float]]] = {each.name: defaultdict(list) for each in FED}
    for event in batch:
        micros, name = event.event_time.ToMicroseconds(), event.user_id
        if name in exposed and exposed[name] <= micros < exposed[name] + window:
            for metric in FED:
                if metric.name != "pros" or "pro" in event.properties_json:
                    counted[metric.name][name].append(event.value)
    return counted


@pytest.mark.parametrize("window_hours", [None, 24])
def test_events_count_from_the_first_exposure_within_the_window(
    window_hours: int | None, service: Service, events: EventsService, clock: Clock
) -> None:
    more = {} if window_hours is None else {"conversion_window_seconds": window_hours * 3_600}
    create(service, what=definition(metrics=FED, **more))
    start(service)
    exposed: dict[str, int] = {}
    variants: dict[str, str] = {}
    for _ in range(4):
        names = [f"u-{len(exposed) + number}" for number in range(40)]
        variants |= assign_all(service, names)
        exposed |= dict.fromkeys(names, clock.micros)
        clock.micros += 20 * HOUR
    batch = purchases(900, clock.micros)
    batch += [bought(-1, "u-0", exposed["u-0"], value=3), bought(-2, "u-0", exposed["u-0"] - 1, value=5)]
    if window_hours:
        batch.append(bought(-3, "u-0", exposed["u-0"] + window_hours * HOUR, value=7))
    track(events, *batch)
    counted = recounted(batch, exposed, (window_hours or 10**6) * HOUR)
    for _ in range(2):  # the second time from chunks that are held
        found = results(service)
        assert found.participants == 160
        for result in found.metrics:
            for each in result.variants:
                people = [
                    counted[result.metric.name].get(name, [])
                    for name, variant in variants.items()
                    if variant == each.variant
                ]
                assert each.participants == len(people)
                assert each.converted == sum(map(bool, people))
                assert each.conversions == sum(map(len, people))
                assert each.total_value == pytest.approx(sum(map(sum, people)))
                totals = np.array([sum(one) for one in people])
                assert each.moments.x.m2 == pytest.approx(totals.var() * len(totals))
        assert [result.metric for result in found.metrics] == FED


def test_late_events_are_seen(service: Service, events: EventsService, clock: Clock) -> None:
    create(service, what=definition(metrics=FED[:1]))
    start(service)
    variant = assign(service, "ann").variant

    def converted() -> int:
        [result] = results(service).metrics
        return next(each.converted for each in result.variants if each.variant == variant)

    assert converted() == 0  # and nobody of this id at the events service yet
    track(events, bought(1, "ann", clock.micros))
    assert converted() == 1
    assign(service, "bob")
    track(events, bought(2, "bob", clock.micros), bought(3, "ann", clock.micros))
    assert sum(each.conversions for each in results(service).metrics[0].variants) == 3


def test_anonymous_people_are_others_than_users(
    service: Service, events: EventsService, clock: Clock
) -> None:
    create(service, what=definition(metrics=FED[:1]))
    start(service)
    request = pb.AssignVariantRequest(experiment_key="colour", person=pb.Person(anonymous_id="ann"))
    service.experiments.AssignVariant(request)
    track(events, bought(1, "ann", clock.micros))
    assert sum(each.converted for each in results(service).metrics[0].variants) == 0
    anonymous = bought(2, "", clock.micros, anonymous_id="ann")
    track(events, anonymous)
    assert sum(each.converted for each in results(service).metrics[0].variants) == 1


def test_ids_that_become_one_person_are_reported_and_left_out_where_variants_differ(
    service: Service, events: EventsService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "_TRUSTED_SECONDS", -1.0)  # who is who is asked again each time
    monkeypatch.setattr(identities, "_REST_RATIO", -1.0)  # however long asking took
    create(service, what=definition(metrics=FED[:1]))
    start(service)
    devices: dict[str, str] = {}
    for number in range(12):
        somebody = pb.Person(anonymous_id=f"device-{number}")
        request = pb.AssignVariantRequest(experiment_key="colour", person=somebody)
        devices[somebody.anonymous_id] = service.experiments.AssignVariant(request).assignment.variant
    users = assign_all(service, (f"u-{number}" for number in range(12)))
    for number in range(12):
        track(events, bought(number, f"u-{number}", clock.micros))
    assert results(service).conflicting_people == 0
    assert results(service).participants == 24
    for number in range(12):
        events.events.LinkUser(LinkUserRequest(user_id=f"u-{number}", anonymous_id=f"device-{number}"))
    differing = sum(users[f"u-{number}"] != devices[f"device-{number}"] for number in range(12))
    assert 0 < differing < 12
    found = results(service)
    assert found.conflicting_people == 2 * differing
    assert found.participants == 24 - 2 * differing
    # Those with one variant under both ids: their events are one person's.
    assert sum(each.converted for each in found.metrics[0].variants) == 12 - differing


def test_merges_are_followed_without_waiting_where_nothing_is_fed_by_events(
    service: Service, events: EventsService, clock: Clock
) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    users = {name: assign(service, name).variant for name in ("u-1", "u-2", "u-3", "u-4", "u-5", "u-6")}
    track(events, *(bought(number, name, clock.micros) for number, name in enumerate(users)))
    devices: dict[str, str] = {}
    for name in users:
        request = pb.AssignVariantRequest(experiment_key="colour", person=pb.Person(anonymous_id=name))
        devices[name] = service.experiments.AssignVariant(request).assignment.variant
        events.events.LinkUser(LinkUserRequest(user_id=name, anonymous_id=name))
    differing = sum(users[name] != devices[name] for name in users)
    assert differing
    assert results(service).participants == 12
    feeds = EventFeeds(
        Scanner(events.events, lambda: clock.micros),
        Identities(
            events.events, UserDictionary(service.engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY))
        ),
    )
    warming(service.engine, service.application.catalogue, feeds).run()
    assert results(service).conflicting_people == 2 * differing
    assert results(service).participants == 12 - 2 * differing


def test_what_events_feed_is_not_tracked_here(service: Service) -> None:
    create(service, what=definition(metrics=[FED[0], SIGNUP]))
    start(service)
    variant = assign(service, "ann").variant
    refused = refusal(lambda: convert(service, 1, "ann", metric="buyers"))
    assert refused.fields.keys() == {"conversion.metric"}
    convert(service, 1, "ann")
    signup = results(service).metrics[1].variants
    assert {each.variant: each.converted for each in signup}[variant] == 1


def test_results_over_time_and_decisions_rest_on_events_too(
    service: Service, events: EventsService, clock: Clock
) -> None:
    create(service, what=definition(metrics=FED[:2]))
    start(service)
    assign(service, "ann")
    track(events, bought(1, "ann", clock.micros, value=2))
    clock.micros += 24 * HOUR
    track(events, bought(2, "ann", clock.micros, value=3))
    request = pb.GetResultsOverTimeRequest(experiment_key="colour", metric="revenue")
    points = service.experiments.GetResultsOverTime(request).points
    assert [sum(each.total_value for each in point.variants) for point in points] == [2, 5]
    declared = pb.DeclareWinnerRequest(
        decision_id="d", experiment_key="colour", variant="b", override_reason="gut"
    )
    decision = service.experiments.DeclareWinner(declared).decision
    assert sum(each.total_value for each in decision.results.metrics[1].variants) == 5


def test_a_metric_nobody_feeds_is_refused(start_service: Callable[..., Service]) -> None:
    alone = start_service()
    refused = refusal(lambda: create(alone, what=definition(metrics=FED[:1])))
    assert refused.fields.keys() == {"definition.metrics[0].feed"}


@pytest.mark.parametrize(
    ("feed", "field"),
    [
        (pb.EventFeed(), "definition.metrics[0].feed.event"),
        (
            pb.EventFeed(event="x", filters=[PropertyFilter(property="p")]),
            "definition.metrics[0].feed.filters[0].operator",
        ),
    ],
)
def test_bad_feeds_are_refused(feed: pb.EventFeed, field: str, service: Service) -> None:
    metric = pb.Metric(name="x", kind=pb.METRIC_KIND_CONVERSION, feed=feed)
    assert field in refusal(lambda: create(service, what=definition(metrics=[metric]))).fields
