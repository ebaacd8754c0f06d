"""The people of a step, and the attempts of one of them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from gateway.dashboard.page import durations, formats
from gateway.dashboard.page.listing import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from gateway.dashboard.funnels.choosing import Choice
    from gateway.dashboard.page.csv_files import Cell

CSV_HEADER: Final = ("kind", "id", "entry_time", "last_step", "last_step_time", "step_time")
_KINDS: Final = {
    events_pb2.USER_KIND_USER: "user",
    events_pb2.USER_KIND_ANONYMOUS: "anonymous",
    events_pb2.USER_KIND_SESSION: "session",
}
_FATES: Final = {
    results_pb2.ATTEMPT_FATE_COUNTS: ("counts", "No other attempt comes further."),
    results_pb2.ATTEMPT_FATE_SHORTER: ("does not count", "Another attempt comes further."),
    results_pb2.ATTEMPT_FATE_LATER: ("does not count", "Another attempt comes as far and begins earlier."),
    results_pb2.ATTEMPT_FATE_SPOILED: ("does not count", "An excluded event lies between its steps."),
    results_pb2.ATTEMPT_FATE_NOT_FIRST: ("does not count", "Only the first attempt on these days may count."),
}


@dataclass(frozen=True, slots=True)
class Time:
    """An instant as it is read, and exactly."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Somebody:
    """Somebody in the list. `query` asks for their journey."""

    id: str
    kind: str
    query: str
    began: Time
    last_step: str
    last_time: Time


@dataclass(frozen=True, slots=True)
class Done:
    """A step of an attempt: `after` is the time since the step before."""

    name: str
    time: Time
    after: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt and why it counts or not."""

    began: Time
    counts: bool
    fate: str
    why: str
    steps: tuple[Done, ...]
    window: str


def people(answer: pb.ListStepUsersResponse, names: "Sequence[str]", zone: "tzinfo") -> tuple[Somebody, ...]:
    """Return a row for each person; `names` are those of the steps."""
    return tuple(_somebody(each, names, zone) for each in answer.users)


def exported(
    users: "Sequence[results_pb2.StepUser]", names: "Sequence[str]", zone: "tzinfo"
) -> "list[tuple[Cell, ...]]":
    """Return the rows of a CSV file with the columns of CSV_HEADER."""
    return [
        (
            _KINDS.get(each.user.kind, ""),
            each.user.id,
            _time(formats.moment(each.entry_time), zone).exact,
            names[each.last_step],
            _time(formats.moment(each.last_step_time), zone).exact,
            _time(formats.moment(each.step_time), zone).exact if each.HasField("step_time") else None,
        )
        for each in users
    ]


def attempts(answer: pb.GetUserJourneyResponse, zone: "tzinfo") -> tuple[Attempt, ...]:
    """Return the attempts of somebody in the order of time."""
    return tuple(_attempt(each, zone) for each in answer.attempts)


def step_names(funnel: pb.Funnel) -> tuple[str, ...]:
    """Return how steps are called; in unordered funnels how many different ones were done."""
    if funnel.order_mode == pb.ORDER_MODE_UNORDERED:
        return tuple(f"{place + 1} of the steps" for place in range(len(funnel.steps)))
    return tuple(each.name for each in funnel.steps)


def title(choice: "Choice", names: "Sequence[str]", count: int) -> str:
    """Return what stands above the list."""
    people = f"{formats.whole(count)} {'person' if count == 1 else 'people'}"
    name = names[choice.step] if choice.step < len(names) else f"step {choice.step + 1}"
    return f"{people} {'lost before' if choice.outcome == 'lost' else 'reached'} {name}"


def _somebody(user: results_pb2.StepUser, names: "Sequence[str]", zone: "tzinfo") -> Somebody:
    kind = _KINDS.get(user.user.kind, "user")
    return Somebody(
        id=user.user.id,
        kind=KINDS[kind],
        query=urlencode({"kind": kind, "who": user.user.id}),
        began=_time(formats.moment(user.entry_time), zone),
        last_step=names[user.last_step],
        last_time=_time(formats.moment(user.last_step_time), zone),
    )


def _time(instant: "datetime", zone: "tzinfo") -> Time:
    return Time(formats.time_of(instant, zone), formats.exact_time(instant, zone))


def _attempt(attempt: results_pb2.JourneyAttempt, zone: "tzinfo") -> Attempt:
    fate, why = _FATES.get(attempt.fate, ("unknown", ""))
    end = formats.time_of(formats.moment(attempt.window_end_time), zone)
    return Attempt(
        began=_time(formats.moment(attempt.entry_time), zone),
        counts=attempt.fate == results_pb2.ATTEMPT_FATE_COUNTS,
        fate=fate,
        why=why,
        steps=_done(attempt, zone),
        window=f"open until {end}" if attempt.open else f"over since {end}",
    )


def _done(attempt: results_pb2.JourneyAttempt, zone: "tzinfo") -> tuple[Done, ...]:
    times = [formats.moment(each.step_time) for each in attempt.steps]
    spans = [(later - time).total_seconds() for time, later in pairwise(times)]
    afters = ["", *map(durations.spelled, spans)]
    return tuple(
        Done(step.name or f"{step.order + 1} of the steps", _time(time, zone), after)
        for step, time, after in zip(attempt.steps, times, afters, strict=True)
    )
