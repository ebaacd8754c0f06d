from collections.abc import Callable

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.experiments.asking import REVENUE, SIGNUP, complete, create, definition, pause, start
from tests.services.experiments.conftest import Service

STEPS: dict[str, Callable[[Service], pb.Experiment]] = {"start": start, "pause": pause, "complete": complete}
# From each state, where each step leads; what is missing is refused.
LIFE = {
    (): {"start": "RUNNING"},
    ("start",): {"pause": "PAUSED", "complete": "COMPLETED"},
    ("start", "pause"): {"start": "RUNNING", "complete": "COMPLETED"},
    ("start", "complete"): {},
    ("start", "pause", "complete"): {},
}


@pytest.mark.parametrize("path", LIFE, ids="-".join)
@pytest.mark.parametrize("step", STEPS)
def test_life_has_these_steps_and_no_others(path: tuple[str, ...], step: str, service: Service) -> None:
    create(service)
    for each in path:
        STEPS[each](service)
    then = LIFE[path].get(step)
    if then:
        status = STEPS[step](service).status
        assert pb.ExperimentStatus.Name(status) == f"EXPERIMENT_STATUS_{then}"
    else:
        refused = refusal(lambda: STEPS[step](service))
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.reason.startswith("EXPERIMENT_")


@pytest.mark.parametrize("path", [("start",), ("start", "pause"), ("start", "complete")], ids="-".join)
def test_a_step_whose_answer_was_lost_is_not_refused_when_it_is_tried_again(
    path: tuple[str, ...], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(service)
    for each in path:
        done = STEPS[each](service)
    monkeypatch.setattr("services.experiments.lifecycle.calls.is_retry", lambda _context: True)
    assert STEPS[path[-1]](service) == done
    others = [step for name, step in STEPS.items() if name != path[-1] and name not in LIFE[path]]
    for step in others:
        assert refusal(lambda step=step: step(service)).code is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[misc]  # bound as it is now


def test_an_experiment_is_returned_as_it_was_made(service: Service, clock: Clock) -> None:
    what = definition(
        33.33,
        33.33,
        33.34,
        metrics=[SIGNUP, REVENUE],
        hypothesis="Größer is better",
        coverage_percent=12.5,
        tracks_exposures=True,
        conversion_window_seconds=3_600,
        planned_sample=2_000,
        confidence_level=0.9,
    )
    made = create(service, what=what)
    assert made.definition == what
    assert (made.status, made.winner) == (pb.EXPERIMENT_STATUS_DRAFT, "")
    assert made.created_time.ToMicroseconds() == clock.micros
    clock.micros += 5_000_000
    assert start(service).started_time.ToMicroseconds() == clock.micros
    first = clock.micros
    clock.micros += 5_000_000
    pause(service)
    assert start(service).started_time.ToMicroseconds() == first
    assert complete(service).completed_time.ToMicroseconds() == clock.micros
    found = service.experiments.GetExperiment(pb.GetExperimentRequest(experiment_key="colour")).experiment
    assert found.definition == what


def test_creating_again_returns_the_same_and_another_is_refused(service: Service) -> None:
    assert create(service) == create(service)
    refused = refusal(lambda: create(service, what=definition(30, 70)))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "EXPERIMENT_ALREADY_EXISTS",
    )


@pytest.mark.parametrize(
    ("what", "field"),
    [
        (definition(50, 49.99), "definition.variants"),
        (definition(100), "definition.variants"),
        (definition(50.001, 49.999), "definition.variants[0].allocation_percent"),
        (definition(-10, 110), "definition.variants[0].allocation_percent"),
        (definition(float("nan"), 50), "definition.variants[0].allocation_percent"),
        (definition(metrics=[]), "definition.metrics"),
        (definition(metrics=[SIGNUP, SIGNUP]), "definition.metrics[1].name"),
        (definition(metrics=[pb.Metric(name="x")]), "definition.metrics[0].kind"),
        (
            definition(metrics=[pb.Metric(name="x", kind=pb.METRIC_KIND_VALUE, guardrail=True)]),
            "definition.metrics",
        ),
        (definition(coverage_percent=101), "definition.coverage_percent"),
        (definition(planned_sample=0), "definition.planned_sample"),
        (definition(conversion_window_seconds=-1), "definition.conversion_window_seconds"),
        (definition(confidence_level=95), "definition.confidence_level"),
        (
            definition(namespace_slice=pb.NamespaceSlice(namespace="n", start_percent=5, end_percent=5)),
            "definition.namespace_slice.end_percent",
        ),
        (
            definition(
                variants=[pb.Variant(name="a", value=Value(bool_value=True))],
            ),
            "definition.variants",
        ),
    ],
)
def test_bad_definitions_are_refused(what: pb.ExperimentDefinition, field: str, service: Service) -> None:
    refused = refusal(lambda: create(service, what=what))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.fields


def test_everything_that_is_wrong_is_told_at_once(service: Service) -> None:
    refused = refusal(lambda: create(service, key="no spaces", what=pb.ExperimentDefinition()))
    assert refused.fields.keys() == {
        "key", "definition.name", "definition.variants", "definition.metrics",
    }  # fmt: skip


def test_unknown_experiments_are_not_found(service: Service) -> None:
    refused = refusal(lambda: start(service, "nothing"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "EXPERIMENT_UNKNOWN")


def test_allocation_coverage_and_metrics_may_change_until_completion(service: Service) -> None:
    create(service)
    start(service)
    request = pb.UpdateExperimentRequest(
        experiment_key="colour",
        allocation=[
            pb.VariantAllocation(variant="b", allocation_percent=90),
            pb.VariantAllocation(variant="a", allocation_percent=10),
        ],
        coverage_percent=20,
        metrics=[REVENUE],
    )
    changed = service.experiments.UpdateExperiment(request).experiment.definition
    assert [each.allocation_percent for each in changed.variants] == [10, 90]
    assert (changed.coverage_percent, list(changed.metrics)) == (20, [REVENUE])
    complete(service)
    refused = refusal(lambda: service.experiments.UpdateExperiment(request))
    assert refused.reason == "EXPERIMENT_COMPLETED"


def test_an_allocation_names_every_variant_once(service: Service) -> None:
    create(service)
    request = pb.UpdateExperimentRequest(
        experiment_key="colour", allocation=[pb.VariantAllocation(variant="a", allocation_percent=100)]
    )
    assert "allocation" in refusal(lambda: service.experiments.UpdateExperiment(request)).fields


def test_slices_of_a_namespace_do_not_overlap(service: Service) -> None:
    for key, span in (("first", (0, 50)), ("second", (49.99, 80)), ("third", (50, 100))):
        part = pb.NamespaceSlice(namespace="checkout", start_percent=span[0], end_percent=span[1])
        create(service, key, definition(namespace_slice=part))
    start(service, "first")
    refused = refusal(lambda: start(service, "second"))
    assert refused.reason == "NAMESPACE_TAKEN"
    start(service, "third")
    pause(service, "first")
    assert refusal(lambda: start(service, "second")).reason == "NAMESPACE_TAKEN"
    complete(service, "first")
    assert refusal(lambda: start(service, "second")).reason == "NAMESPACE_TAKEN"  # still third's
    complete(service, "third")
    start(service, "second")


def test_experiments_are_listed_by_key_in_pages(service: Service) -> None:
    keys = [f"e{number:02}" for number in range(7)]
    for key in reversed(keys):
        create(service, key)
    start(service, "e03")
    found, token = [], ""
    while True:
        page = service.experiments.ListExperiments(pb.ListExperimentsRequest(page_size=3, page_token=token))
        found += [each.key for each in page.experiments]
        token = page.next_page_token
        if not token:
            break
    assert found == keys
    request = pb.ListExperimentsRequest(statuses=[pb.EXPERIMENT_STATUS_RUNNING])
    assert [each.key for each in service.experiments.ListExperiments(request).experiments] == ["e03"]


def test_changes_are_audited(service: Service) -> None:
    create(service)
    start(service)
    refusal(lambda: start(service))
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    told = [(each.actor, each.action, each.subject) for each in entries if each.subject == "colour"]
    assert told == [("test", "StartExperiment", "colour"), ("test", "CreateExperiment", "colour")]
