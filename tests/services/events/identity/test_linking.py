"""An anonymous id becomes a user: history, later events, look-ups, sets."""

from collections.abc import Callable

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1 import events_pb2 as pb

from services.events.rollups.compaction import compact
from tests.refusals import attempt
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import (
    counted,
    event,
    ids,
    key_of,
    link,
    listed,
    track,
    until_settled,
)

HOUR = 3600


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("fold", ["never", "before", "after", "both"])
def test_history_and_counts_follow(service: Service, fold: str) -> None:
    track(service, event("a", anonymous="d"), event("b", anonymous="d", after=HOUR), event("c", user="u"))
    if fold in {"before", "both"}:
        compact(service.engine)
    assert counted(service) == (3, 2)
    reply = link(service, "u", "d")
    assert (reply.moved_events, reply.already_linked) == (2, False)
    if fold in {"after", "both"}:
        compact(service.engine)
    assert counted(service) == (3, 1)
    assert ids(listed(service, user_id="u")) == ["a", "b", "c"]
    assert ids(listed(service, anonymous_id="d")) == ["a", "b"]
    assert ids(listed(service, user_id="u", anonymous_id="d")) == ["a", "b"]
    assert {(each.user_id, each.anonymous_id) for each in listed(service, anonymous_id="d")} == {("u", "d")}


def test_later_events_of_the_anonymous_id_are_the_user_s(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    link(service, "u", "d")
    assert track(service, event("b", anonymous="d")).accepted == 1
    assert counted(service) == (2, 1)
    assert ids(listed(service, user_id="u", anonymous_id="d")) == ["a", "b"]


def test_a_retry_from_before_the_merge_is_a_duplicate(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    link(service, "u", "d")
    assert track(service, event("a", anonymous="d")).duplicates == 1
    assert track(service, event("a", user="u", anonymous="d")).duplicates == 1


def test_an_event_that_both_had_becomes_one(service: Service) -> None:
    track(service, event("a", anonymous="d"), event("a", user="u"), event("b", anonymous="d"))
    assert counted(service) == (3, 2)
    assert link(service, "u", "d").moved_events == 2
    assert counted(service) == (2, 1)
    assert ids(listed(service, user_id="u")) == ["a", "b"]


def test_an_event_with_both_ids_merges_them(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    track(service, event("b", user="u", anonymous="d"))
    until_settled(service)
    assert counted(service) == (2, 1)
    assert ids(listed(service, user_id="u")) == ["a", "b"]
    assert track(service, event("c", anonymous="d")).accepted == 1
    assert counted(service) == (3, 1)


def test_linking_twice_changes_nothing(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    link(service, "u", "d")
    reply = link(service, "u", "d")
    assert (reply.moved_events, reply.already_linked) == (0, True)


def test_ids_nobody_ever_saw_can_be_linked(service: Service) -> None:
    assert link(service, "u", "d").moved_events == 0
    track(service, event("a", anonymous="d"), event("b", user="u"))
    assert counted(service) == (2, 1)


def audited(service: Service) -> list[tuple[str, bool]]:
    """Return what was done, and whether it was refused."""
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    return [
        (entry.action, "refused" in entry.details) for entry in reversed(entries) if entry.action != "migrate"
    ]


def test_a_second_user_is_refused_and_audited(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    link(service, "u", "d")
    refusal = attempt(lambda: link(service, "v", "d"))
    assert refusal is not None
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert audited(service) == [("LinkUser", False), ("LinkUser", True)]
    assert ids(listed(service, user_id="u")) == ["a"]
    assert listed(service, user_id="v") == []


def test_an_event_of_a_second_user_is_stored_and_moves_nothing(service: Service) -> None:
    track(service, event("a", anonymous="d"))
    link(service, "u", "d")
    for name in ("b", "c"):
        assert track(service, event(name, user="v", anonymous="d")).accepted == 1
        until_settled(service)
    assert counted(service) == (3, 2)
    assert ids(listed(service, user_id="v")) == ["b", "c"]
    assert ids(listed(service, anonymous_id="d")) == ["a"]
    assert audited(service) == [("LinkUser", False), ("LinkUser", True)]


def test_of_two_users_in_one_batch_the_first_event_decides(service: Service) -> None:
    track(service, event("z", user="v"), event("y", user="u"))  # u has the greater key
    track(service, event("a", user="u", anonymous="d"), event("b", user="v", anonymous="d"))
    until_settled(service)
    assert key_of(service, pb.USER_KIND_ANONYMOUS, "d") == key_of(service, pb.USER_KIND_USER, "u")


def test_look_ups_follow_merges(service: Service) -> None:
    track(service, event("a", anonymous="d"), event("b", user="u"))
    old = key_of(service, pb.USER_KIND_ANONYMOUS, "d")
    user = key_of(service, pb.USER_KIND_USER, "u")
    link(service, "u", "d")
    assert key_of(service, pb.USER_KIND_ANONYMOUS, "d") == user
    [resolved] = service.events.ResolveUsers(pb.ResolveUsersRequest(user_keys=[old])).users
    assert (resolved.asked_user_key, resolved.user_key, resolved.user.id) == (old, user, "u")


def test_another_replica_with_warm_caches_follows(start_service: Callable[..., Service]) -> None:
    first, second = start_service(), start_service()
    for replica in (first, second):
        track(replica, event("a", anonymous="d"), event("b", user="u"))
    link(first, "u", "d")
    assert track(second, event("a", anonymous="d")).duplicates == 1
    assert track(second, event("c", anonymous="d")).accepted == 1
    assert counted(second) == (3, 1)
    assert {each.user_id for each in listed(second)} == {"u"}


def test_bad_requests_name_every_field(service: Service) -> None:
    refusal = attempt(lambda: link(service, "", "x" * 201))
    assert refusal is not None
    assert set(refusal.fields) == {"user_id", "anonymous_id"}
