"""The calls of EventsService about conversion."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.events.conversion.answers import conversion_answer
from services.events.conversion.questions import conversion_question
from services.events.conversion.steps import read_matched
from services.events.reading.column_cache import ColumnCache

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc
    from brain.events.v1 import conversion_pb2 as pb


@dataclass(frozen=True)
class ConversionCalls:
    """Counts who went from one event to another."""

    columns: ColumnCache
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def GetConversionRate(
        self, request: "pb.GetConversionRateRequest", context: "grpc.ServicerContext"
    ) -> "pb.GetConversionRateResponse":
        """Count those who started and those who converted."""
        question = conversion_question(request, self.reporting_zone)
        now = self.clock()  # before it reads: what comes after is not in the answer
        return conversion_answer(request, question, read_matched(self.columns, question.conversion), now)
