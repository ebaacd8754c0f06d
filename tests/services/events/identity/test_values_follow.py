"""Roll-ups by value follow merges and erasures, whatever was filled and folded before."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from brain.events.v1 import events_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from services.events.value_rollups import filling
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import event, link, track
from tests.services.events.registering import fill, fold, mismatches, register

DAY = 86_400
Step = Callable[[Service], object]


def bought(name: str, plan: str, *, user: str = "", anonymous: str = "", after: int = 0) -> pb.Event:
    made = event(name, user=user, anonymous=anonymous, after=after)
    made.properties_json = f'{{"plan": "{plan}"}}'
    made.value = 1.5
    return made


def begin(service: Service) -> None:
    """Ann, once as a device, on two days with two plans; and Bob, who shares both plans."""
    reply = track(
        service,
        bought("a", "gold", anonymous="device"),
        bought("b", "silver", anonymous="device", after=DAY),
        bought("c", "gold", user="ann"),
        bought("d", "gold", user="bob"),
        bought("e", "silver", user="bob", after=DAY),
        event("f", anonymous="device"),
    )
    assert reply.accepted == 6


def merge(service: Service) -> None:
    assert link(service, "ann", "device").moved_events == 3


def erase(service: Service) -> None:
    user = pb.UserReference(kind=pb.USER_KIND_USER, id="ann")
    service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=user, mode=privacy_pb2.ERASURE_MODE_ERASE))


def anonymise(service: Service) -> None:
    user = pb.UserReference(kind=pb.USER_KIND_USER, id="ann")
    mode = privacy_pb2.ERASURE_MODE_ANONYMIZE
    service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=user, mode=mode))


@pytest.mark.parametrize("goes", [erase, anonymise])
@pytest.mark.parametrize("registered", range(4))
@pytest.mark.parametrize("folds", list(itertools.product([False, True], repeat=2)))
def test_roll_ups_by_value_are_those_of_the_raw_events(
    by_hand: None, service: Service, goes: Step, registered: int, folds: tuple[bool, bool]
) -> None:
    for place, step in enumerate((begin, merge, goes, fold)):
        step(service)
        if place == registered:
            register(service, "plan")
            fill(service)
        if place in {0, 1} and folds[place]:
            fold(service)
        if place >= registered:
            assert mismatches(service, 1) == []
    fold(service)
    assert mismatches(service, 1) == []


@pytest.mark.parametrize("goes", [erase, anonymise])
def test_whoever_goes_while_history_is_read_is_gone(
    by_hand: None, service: Service, monkeypatch: pytest.MonkeyPatch, goes: Step
) -> None:
    """History is that of a moment before they went."""
    begin(service)
    register(service, "plan")
    read = filling._fill  # noqa: SLF001 - nothing else tells when the snapshot is taken

    def read_late(*arguments: Any) -> None:  # noqa: ANN401 - whatever is passed on
        merge(service)
        goes(service)
        fold(service)
        read(*arguments)

    monkeypatch.setattr(filling, "_fill", read_late)
    fill(service)
    assert mismatches(service, 1) == []
    fold(service)
    assert mismatches(service, 1) == []
