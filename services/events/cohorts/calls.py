"""The calls of EventsService about named cohorts: each checks, keeps or counts, and converts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.events.v1 import cohorts_pb2 as pb

from services.events.cohorts import messages, numbers
from services.events.cohorts.store import CohortStore
from services.events.reading.store import CellStore
from services.events.retention.answers import retention_average
from shared.attempts import is_retry
from shared.calls import current_caller
from shared.errors import NotFound
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc


@dataclass(frozen=True)
class CohortCalls:
    """Names cohorts and counts them."""

    store: CohortStore
    cells: CellStore
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def CreateCohort(
        self, request: pb.CreateCohortRequest, context: "grpc.ServicerContext"
    ) -> pb.CreateCohortResponse:
        """Create a cohort, once."""
        cohort = messages.to_create(request, self.reporting_zone, self.clock())
        kept = self.store.create(cohort, current_caller().subject)
        return pb.CreateCohortResponse(cohort=messages.to_message(kept))

    def ListCohorts(
        self, request: pb.ListCohortsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListCohortsResponse:
        """List cohorts by id."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (str,))
        violations.raise_if_any()
        found = self.store.page(cast("str", after[0]) if after else None, size + 1)
        page = found[:size]
        return pb.ListCohortsResponse(
            cohorts=map(messages.to_message, page),
            next_page_token=encode_token(request, [page[-1].cohort_id]) if len(found) > size else "",
        )

    def GetCohort(
        self, request: pb.GetCohortRequest, context: "grpc.ServicerContext"
    ) -> pb.GetCohortResponse:
        """Count a cohort as it is now."""
        now = self.clock()
        cohort = self.store.read(messages.cohort_id(request))
        found = numbers.count(self.cells, cohort.definition, now)
        day, week, month = found.active
        return pb.GetCohortResponse(
            cohort=messages.to_message(cohort),
            users=found.users,
            active_day_users=day,
            active_week_users=week,
            active_month_users=month,
            retention=map(retention_average, found.retention),
            complete=cohort.definition.end <= now,
        )

    def DeleteCohort(
        self, request: pb.DeleteCohortRequest, context: "grpc.ServicerContext"
    ) -> pb.DeleteCohortResponse:
        """Delete a cohort."""
        try:
            self.store.delete(messages.cohort_id(request), current_caller().subject)
        except NotFound:
            if not is_retry(context):
                raise
        return pb.DeleteCohortResponse()
