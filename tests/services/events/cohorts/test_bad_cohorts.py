"""Cohorts without sense: refused, every field named."""

import grpc
import pytest
from brain.common.v1.common_pb2 import PropertyFilter, TimeRange
from brain.events.v1 import cohorts_pb2 as pb

from tests.refusals import refusal
from tests.services.events.cohorts.test_cohorts import cohort, create, get, span
from tests.services.events.conftest import Service


@pytest.mark.parametrize(
    ("bad", "fields"),
    [
        (
            pb.Cohort(),
            {"cohort.cohort_id", "cohort.name", "cohort.definition.time_range"},
        ),
        (cohort("x" * 201), {"cohort.cohort_id"}),
        (
            cohort(time_range=TimeRange()),
            {f"cohort.definition.time_range.{each}_time" for each in ("start", "end")},
        ),
        (cohort(time_range=span("2011-09-02", "2011-09-01")), {"cohort.definition.time_range.end_time"}),
        (cohort(time_range=span("2011-11-12", "2011-11-13")), {"cohort.definition.time_range.start_time"}),
        (cohort(time_range=span("1969-01-01", "2011-11-13")), {"cohort.definition.time_range"}),
        (cohort(time_range=span("1970-01-01", "2011-11-13")), {"cohort.definition.time_range"}),
        (
            cohort(
                start_event="x" * 201,
                start_filters=[PropertyFilter()],
                time_zone="Mars/Olympus",
                entry=99,
            ),
            {
                "cohort.definition.start_event",
                "cohort.definition.start_filters[0].property",
                "cohort.definition.start_filters[0].operator",
                "cohort.definition.start_filters[0].values",
                "cohort.definition.time_zone",
                "cohort.definition.entry",
            },
        ),
    ],
    ids=["empty", "long id", "empty range", "inverted", "future", "early", "wide", "definition"],
)
def test_cohorts_without_sense_are_refused_by_every_field(
    service: Service, bad: pb.Cohort, fields: set[str]
) -> None:
    refused = refusal(lambda: create(service, bad))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == fields


def test_ids_and_pages_without_sense_are_refused(service: Service) -> None:
    for call in (
        lambda: get(service, ""),
        lambda: service.events.DeleteCohort(pb.DeleteCohortRequest(cohort_id="\0")),
    ):
        assert set(refusal(call).fields) == {"cohort_id"}
    bad = pb.ListCohortsRequest(page_size=-1, page_token="forged")
    assert set(refusal(lambda: service.events.ListCohorts(bad)).fields) == {"page_size", "page_token"}
