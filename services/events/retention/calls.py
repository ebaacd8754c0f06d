"""The calls of EventsService about coming back: each checks, reads sets of people, and converts."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from brain.events.v1 import retention_pb2 as pb
from pyroaring import BitMap

from services.events import messages
from services.events.reading.by_property import PropertyCells
from services.events.reading.store import CellStore
from services.events.retention import answers, questions
from services.events.retention.lifecycle import lifecycles
from services.events.retention.reading import read_sets, read_sets_since_ever
from services.events.retention.returns import read_grid, read_grids
from services.events.retention.stickiness import people_by_days
from shared.calendar import Interval, buckets

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc


@dataclass(frozen=True)
class RetentionCalls:
    """Tells who comes back."""

    cells: CellStore
    properties: PropertyCells
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def GetRetention(
        self, request: pb.GetRetentionRequest, context: "grpc.ServicerContext"
    ) -> pb.GetRetentionResponse:
        """Tell how many people of each cohort came back."""
        now = self.clock()
        question = questions.retention_question(request, self.reporting_zone, now)
        found = read_grid(self.cells, question, now)
        groups = read_grids(self.cells, self.properties, question, now)
        limit = question.break_down.page.limit - 1 if question.break_down else 0
        return pb.GetRetentionResponse(
            cohorts=answers.retention_cohorts(question, found),
            averages=answers.retention_averages(question, found),
            mode=answers.MODE_NUMBERS[question.mode],
            entry=answers.ENTRY_NUMBERS[question.entry],
            time_zone=messages.zone_name(question.zone),
            groups=[
                pb.RetentionGroup(
                    group=value,
                    cohorts=answers.retention_cohorts(question, each),
                    averages=answers.retention_averages(question, each),
                )
                for value, each in islice(groups.items(), limit)
            ],
            has_more_groups=len(groups) > limit,
        )

    def GetLifecycle(
        self, request: pb.GetLifecycleRequest, context: "grpc.ServicerContext"
    ) -> pb.GetLifecycleResponse:
        """Divide the people of each period by what they did before."""
        now = self.clock()
        question = questions.lifecycle_question(request, self.reporting_zone)
        start = question.periods[0][0]
        previous = buckets(start - 1, start, question.interval, question.zone)
        before, sets = read_sets_since_ever(
            self.cells, [*previous, *question.periods], question.selection, question.population
        )
        found = lifecycles(before, sets[0], sets[1:])
        return pb.GetLifecycleResponse(
            periods=[
                answers.lifecycle_period(period, each, now)
                for period, each in zip(question.periods, found, strict=True)
            ],
            time_zone=messages.zone_name(question.zone),
        )

    def GetStickiness(
        self, request: pb.GetStickinessRequest, context: "grpc.ServicerContext"
    ) -> pb.GetStickinessResponse:
        """Tell on how many days of each period people were active."""
        now = self.clock()
        question = questions.stickiness_question(request, self.reporting_zone)
        sets = self._begun_days(question, now)
        periods = []
        for period in question.periods:
            days = [users for start, users in sets if period[0] <= start < period[1]]
            length = len(buckets(*period, Interval.DAY, question.zone))
            counts = people_by_days(days) + [0] * (length - len(days))
            periods.append(answers.stickiness_period(period, counts, len(days), now))
        return pb.GetStickinessResponse(periods=periods, time_zone=messages.zone_name(question.zone))

    def _begun_days(self, question: questions.PeriodQuestion, now: int) -> list[tuple[int, BitMap]]:
        """Return where each day that has begun begins, and who was active on it."""
        first, after = question.periods[0][0], question.periods[-1][1]
        days = [day for day in buckets(first, after, Interval.DAY, question.zone) if day[0] <= now]
        sets = read_sets(self.cells, days, question.selection, question.population)
        return [(start, users) for (start, _), users in zip(days, sets, strict=True)]
