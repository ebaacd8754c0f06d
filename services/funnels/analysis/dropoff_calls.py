"""The call that tells where people are lost, and who more than others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import properties_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from services.funnels.analysis import answers, questions
from services.funnels.analysis.analyst import Analysis, Analyst
from services.funnels.analysis.calls import kept_funnel
from services.funnels.columns import NEVER
from services.funnels.counting import bottlenecks, step_counts
from services.funnels.segments import Segment, holm, segments_of
from shared import property_filters
from shared.validation import Violations

if TYPE_CHECKING:
    import grpc
    from brain.events.v1.events_pb2_grpc import EventsServiceStub
    from sqlalchemy import Engine

    from services.funnels.analysis.questions import Scope
    from services.funnels.counting import StepCount
    from services.funnels.domain import Funnel

MAXIMUM_PROPERTIES = 10
DEFAULT_LEVEL = 0.05
_REGISTERED = 1_000


@dataclass(frozen=True, slots=True)
class _Tested:
    """A segment of a property's value (None: absent) before a step."""

    step: int
    path: str
    value: str | None
    segment: Segment


@dataclass(frozen=True)
class DropoffCalls:
    """Tells where people are lost."""

    engine: "Engine"
    events: "EventsServiceStub"
    analyst: Analyst

    def GetDropoffAnalysis(
        self, request: pb.GetDropoffAnalysisRequest, context: "grpc.ServicerContext"
    ) -> pb.GetDropoffAnalysisResponse:
        """Find bottlenecks, and segments that lose more than others."""
        funnel = kept_funnel(self.engine, request.funnel_id)
        violations = Violations()
        scope = questions.scope(violations, request)
        _check(violations, request, funnel)
        violations.raise_if_any()
        analysis = self.analyst.analyze(funnel, scope)
        counts = step_counts(analysis.times, funnel)
        largest_ratio, largest_count = bottlenecks(counts)
        steps = {request.step} if request.HasField("step") else {largest_ratio, largest_count} - {None}
        paths = list(dict.fromkeys(request.properties)) or self._registered(funnel)
        segments = self._segments(funnel, scope, sorted(filter(None, steps)), paths)
        level = request.significance_level or DEFAULT_LEVEL
        testable = [each for each in segments if each.segment.is_testable]
        return pb.GetDropoffAnalysisResponse(
            dropoffs=_dropoffs(funnel, counts),
            largest_ratio_step=largest_ratio,
            largest_count_step=largest_count,
            segments=_significant(testable, level),
            tested_segments=len(testable),
            untested_segments=len(segments) - len(testable),
            choices=answers.choices(analysis),
        )

    def _registered(self, funnel: "Funnel") -> list[str]:
        """Return the properties that are registered for all events or for one of the funnel's."""
        request = properties_pb2.ListPropertiesRequest(page_size=_REGISTERED)
        events = {"", *(step.pattern.event for step in funnel.steps)}
        found = self.events.ListProperties(request).properties
        return sorted({each.property for each in found if each.event in events})[:MAXIMUM_PROPERTIES]

    def _segments(
        self, funnel: "Funnel", scope: "Scope", steps: Sequence[int], paths: Sequence[str]
    ) -> list[_Tested]:
        """Return the segments of all properties before all steps, a reading for each property."""
        if not steps:
            return []
        return [
            found
            for path in paths
            for found in _of_property(self.analyst.analyze(funnel, scope, path), path, steps)
        ]


def _check(violations: Violations, request: pb.GetDropoffAnalysisRequest, funnel: "Funnel") -> None:
    if len(request.properties) > MAXIMUM_PROPERTIES:
        violations.add("properties", f"at most {MAXIMUM_PROPERTIES}")
    for index, path in enumerate(request.properties[:MAXIMUM_PROPERTIES]):
        property_filters.check_path(violations, f"properties[{index}]", path)
    if request.HasField("step"):
        questions.step_of(violations, "step", request.step, funnel, lost=True)
    level = request.significance_level
    if not 0 <= level < 1:  # NaN neither
        violations.add("significance_level", f"must be above 0 and below 1, or 0 for {DEFAULT_LEVEL}")


def _dropoffs(funnel: "Funnel", counts: "Sequence[StepCount]") -> list[results_pb2.StepDropoff]:
    found = []
    for step, count in enumerate(counts):
        before = funnel.required_before(step)
        if before is None or count.dropoff is None:
            continue
        users = counts[before].users
        dropoff = results_pb2.StepDropoff(
            step=step,
            name=answers.step_names(funnel, step)[0],
            users_before=users,
            lost=count.dropoff,
            loss_ratio=count.dropoff / users if users else None,
        )
        found.append(dropoff)
    return found


def _of_property(analysis: Analysis, path: str, steps: Sequence[int]) -> list[_Tested]:
    """Return the segments of the property that was analyzed."""
    values, texts, found = analysis.values, analysis.found.texts, []
    for step in steps:
        before = analysis.funnel.required_before(step)
        assert before is not None, "nobody is lost before the first step"
        were = analysis.times[:, before] != NEVER
        lost = analysis.times[were, step] == NEVER
        # No value of a later step: only those have one who came there.
        for segment in segments_of(values.up_to(before)[were], lost):
            value = texts[segment.code] if segment.code < len(texts) else None
            found.append(_Tested(step, path, value, segment))
    return found


def _significant(tested: Sequence[_Tested], level: float) -> list[results_pb2.DropoffSegment]:
    adjusted = holm([each.segment.p_value for each in tested])
    rows = sorted(zip(adjusted, tested, strict=True), key=lambda row: (row[0], row[1].segment.p_value))
    return [_segment_message(each, p_value) for p_value, each in rows if p_value <= level]


def _segment_message(tested: _Tested, adjusted: float) -> results_pb2.DropoffSegment:
    segment = tested.segment
    return results_pb2.DropoffSegment(
        step=tested.step,
        property=tested.path,
        value=tested.value,
        users=segment.users,
        lost=segment.lost,
        loss_ratio=segment.lost / segment.users,
        other_users=segment.other_users,
        other_lost=segment.other_lost,
        other_loss_ratio=segment.other_lost / segment.other_users,
        difference_ratio=segment.difference,
        p_value=segment.p_value,
        adjusted_p_value=adjusted,
    )
