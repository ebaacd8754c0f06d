"""The calls about single people: who reached a step, and the attempts of one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from services.funnels.analysis import answers, questions
from services.funnels.analysis.analyst import Analysis, Analyst, Reading, ensure_awaited
from services.funnels.analysis.calls import kept_funnel
from services.funnels.analysis.questions import Scope
from services.funnels.columns import NEVER
from services.funnels.domain import Population
from services.funnels.journey import AttemptFate, Tried, journey
from services.funnels.reading.identities import NOBODY, Identities
from services.funnels.reading.loading import Loaded
from services.funnels.search import History
from shared.intervals import range_of
from shared.pagination import decode_token, encode_token
from shared.people import to_reference, who_of
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, page_size

if TYPE_CHECKING:
    import grpc
    from brain.events.v1.events_pb2 import UserReference
    from numpy.typing import NDArray
    from sqlalchemy import Engine

    from services.funnels.domain import Funnel

_FATES = {
    AttemptFate.COUNTS: results_pb2.ATTEMPT_FATE_COUNTS,
    AttemptFate.SHORTER: results_pb2.ATTEMPT_FATE_SHORTER,
    AttemptFate.LATER: results_pb2.ATTEMPT_FATE_LATER,
    AttemptFate.SPOILED: results_pb2.ATTEMPT_FATE_SPOILED,
    AttemptFate.NOT_FIRST: results_pb2.ATTEMPT_FATE_NOT_FIRST,
}
_OUTCOMES = {results_pb2.STEP_OUTCOME_REACHED: False, results_pb2.STEP_OUTCOME_LOST: True}


@dataclass(frozen=True)
class PeopleCalls:
    """Names people."""

    engine: "Engine"
    analyst: Analyst
    identities: Identities

    def ListStepUsers(
        self, request: pb.ListStepUsersRequest, context: "grpc.ServicerContext"
    ) -> pb.ListStepUsersResponse:
        """List who reached a step, or was lost before it."""
        funnel = kept_funnel(self.engine, request.funnel_id)
        violations = Violations()
        scope = questions.scope(violations, request)
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (int,))
        lost = chosen(violations, "outcome", request.outcome, _OUTCOMES)
        questions.step_of(violations, "step", request.step, funnel, lost=lost)
        violations.raise_if_any()
        analysis = self.analyst.analyze(funnel, scope)
        rows = np.flatnonzero(_listed(analysis, request.step, lost=lost))
        keys = analysis.user_keys[rows]
        first = 0 if after is None else int(np.searchsorted(keys, cast("int", after[0]), "right"))
        page = rows[first : first + size]
        token = ""
        if first + size < len(rows):
            token = encode_token(request, [int(keys[first + size - 1])])
        return pb.ListStepUsersResponse(
            users=self._users(analysis, page, request.step),
            user_count=len(rows),
            choices=answers.choices(analysis),
            next_page_token=token,
        )

    def _users(self, analysis: Analysis, rows: "NDArray[np.intp]", step: int) -> list[results_pb2.StepUser]:
        keys = analysis.user_keys[rows].tolist()
        people = self.identities.ids(keys)
        return [
            _step_user(times, step, to_reference(people[key]))
            for key, times in zip(keys, analysis.times[rows], strict=True)
            if key in people  # erased since, otherwise
        ]

    def GetUserJourney(
        self, request: pb.GetUserJourneyRequest, context: "grpc.ServicerContext"
    ) -> pb.GetUserJourneyResponse:
        """Tell every attempt of somebody."""
        funnel = kept_funnel(self.engine, request.funnel_id)
        violations = Violations()
        person = who_of(violations, "user", request.user)
        entries = range_of(violations, request)
        entry = chosen(violations, "entry", request.entry, questions.ENTRIES)
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (int,))
        violations.raise_if_any()
        found = self.identities.key_of(person)
        key = NOBODY if found is None else found
        reading = self.analyst.load(funnel, Scope(entries, entry, Population.ACTORS), user_key=key)
        tried = journey(_history(reading.loaded, key), funnel.rules(entry), entries, ensure_awaited)
        first = 0 if after is None else max(0, cast("int", after[0]))
        token = encode_token(request, [first + size]) if first + size < len(tried) else ""
        return pb.GetUserJourneyResponse(
            attempts=[_attempt(each, reading) for each in tried[first : first + size]],
            attempt_count=len(tried),
            choices=answers.choices(reading),
            next_page_token=token,
        )


def _listed(analysis: Analysis, step: int, *, lost: bool) -> "NDArray[np.bool_]":
    reached: NDArray[np.bool_] = analysis.times[:, step] != NEVER
    before = analysis.funnel.required_before(step)
    if not lost or before is None:
        return reached
    were: NDArray[np.bool_] = analysis.times[:, before] != NEVER
    return were & ~reached


def _step_user(times: "NDArray[np.int64]", step: int, reference: "UserReference") -> results_pb2.StepUser:
    last = int(np.flatnonzero(times != NEVER)[-1])
    message = results_pb2.StepUser(
        user=reference,
        entry_time=from_micros(int(times[0])),
        last_step=last,
        last_step_time=from_micros(int(times[last])),
    )
    if times[step] != NEVER:
        message.step_time.CopyFrom(from_micros(int(times[step])))
    return message


def _history(loaded: Loaded, key: int) -> History:
    """Return the events of one person in the order of time."""
    events = loaded.events
    rows = np.flatnonzero(events.user_keys == key)
    rows = rows[np.argsort(events.times[rows], kind="stable")]
    return History(events.times[rows].tolist(), events.steps[rows].tolist(), events.bans[rows].tolist())


def _attempt(tried: Tried, reading: Reading) -> results_pb2.JourneyAttempt:
    attempt = tried.attempt
    until = attempt.entry + reading.funnel.window
    return results_pb2.JourneyAttempt(
        entry_time=from_micros(attempt.entry),
        steps=_steps(attempt.times, reading.funnel),
        fate=_FATES[tried.fate],
        window_end_time=from_micros(until),
        open=until >= reading.now,
    )


def _steps(times: tuple[int | None, ...], funnel: "Funnel") -> list[results_pb2.JourneyStep]:
    return [
        results_pb2.JourneyStep(
            order=step, name=answers.step_names(funnel, step)[0], step_time=from_micros(time)
        )
        for step, time in enumerate(times)
        if time is not None
    ]
