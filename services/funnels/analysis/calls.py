"""The calls that count: results, conversion over time, funnels that are not kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from services.funnels.analysis import answers, questions
from services.funnels.analysis.analyst import Analysis, Analyst
from services.funnels.columns import NEVER
from services.funnels.keeping import definitions, store
from services.funnels.reading.unseen import UnseenEvents
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc
    from sqlalchemy import Engine

    from services.funnels.domain import Funnel


@dataclass(frozen=True)
class CountingCalls:
    """Counts who reached which step."""

    engine: "Engine"
    analyst: Analyst
    unseen: UnseenEvents
    reporting_zone: "ZoneInfo"

    def GetFunnelResults(
        self, request: pb.GetFunnelResultsRequest, context: "grpc.ServicerContext"
    ) -> pb.GetFunnelResultsResponse:
        """Count who reached each step."""
        funnel = kept_funnel(self.engine, request.funnel_id)
        return pb.GetFunnelResultsResponse(results=self._results(funnel, request, Violations()))

    def AnalyzeFunnel(
        self, request: pb.AnalyzeFunnelRequest, context: "grpc.ServicerContext"
    ) -> pb.AnalyzeFunnelResponse:
        """Count who reached each step of a funnel that is not kept."""
        violations = Violations()
        definitions.check(violations, request)
        if violations:  # tell what else is wrong with them
            questions.scope(violations, request)
            violations.raise_if_any()
        funnel = definitions.to_funnel(request)
        results = self._results(funnel, request, violations)
        return pb.AnalyzeFunnelResponse(results=results, warnings=self.unseen.warnings(funnel))

    def _results(
        self,
        funnel: "Funnel",
        request: pb.GetFunnelResultsRequest | pb.AnalyzeFunnelRequest,
        violations: Violations,
    ) -> results_pb2.FunnelResults:
        scope = questions.scope(violations, request)
        break_down = questions.break_down(violations, request, len(funnel.steps))
        violations.raise_if_any()
        analysis = self.analyst.analyze(funnel, scope, break_down.path if break_down else "")
        return answers.results(analysis, break_down, with_histograms=request.with_histograms)

    def GetFunnelConversion(
        self, request: pb.GetFunnelConversionRequest, context: "grpc.ServicerContext"
    ) -> pb.GetFunnelConversionResponse:
        """Count who finished, in all and by when they began."""
        violations = Violations()
        scope = questions.scope(violations, request)
        points, zone = questions.points(violations, request, scope.entries, self.reporting_zone)
        violations.raise_if_any()
        analysis = self.analyst.analyze(kept_funnel(self.engine, request.funnel_id), scope)
        return pb.GetFunnelConversionResponse(
            total=answers.conversion(analysis.times, analysis.open_people()),
            points=_points(analysis, points),
            choices=answers.choices(analysis),
            time_zone=zone.key,
        )


def kept_funnel(engine: "Engine", funnel_id: str) -> "Funnel":
    """Return what a kept funnel counts; raise NotFound."""
    with engine.begin() as connection:
        return store.read(connection, funnel_id).funnel


def _points(analysis: Analysis, points: list[tuple[int, int]]) -> list[results_pb2.ConversionPoint]:
    """Return a point for each interval, of those whose attempt begins inside."""
    begun = analysis.times[:, 0]
    order = np.argsort(begun, kind="stable")
    bounds = np.searchsorted(begun[order], [start for start, _ in points] + [end for _, end in points[-1:]])
    is_open = analysis.open_people()
    messages = []
    for (start, end), first, after in zip(points, bounds[:-1], bounds[1:], strict=True):
        rows = order[first:after]
        times = analysis.times[rows]
        messages.append(
            results_pb2.ConversionPoint(
                start_time=from_micros(start),
                conversion=answers.conversion(times, is_open[rows]),
                step_users=(times != NEVER).sum(axis=0).tolist(),
                complete=analysis.is_complete(end),
            )
        )
    return messages
