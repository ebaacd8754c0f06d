"""Declaring winners: what is refused, what is kept, what people get afterwards."""

from typing import Any

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2 as stats

from services.experiments.results import folded
from tests.refusals import refusal
from tests.services.experiments.asking import (
    SIGNUP,
    assign,
    assign_all,
    complete,
    conversion,
    convert,
    convert_all,
    create,
    definition,
    results,
    start,
)
from tests.services.experiments.conftest import Service

COMPLAINTS = pb.Metric(
    name="complaints", kind=pb.METRIC_KIND_CONVERSION, guardrail=True, decrease_is_better=True
)


def declare(service: Service, variant: str, **more: object) -> pb.Decision:
    request = pb.DeclareWinnerRequest(decision_id="d-1", experiment_key="colour", variant=variant)
    request.MergeFrom(pb.DeclareWinnerRequest(**more))  # type: ignore[arg-type]
    return service.experiments.DeclareWinner(request).decision


def converting(
    service: Service, rates: dict[str, float], people: int = 2_000, metric: str = "signup"
) -> dict[str, str]:
    """Assign and have this share of each variant convert."""
    variants = assign_all(service, [f"u-{number}" for number in range(people)])
    for variant, rate in rates.items():
        members = [name for name, each in variants.items() if each == variant]
        chosen = members[: round(rate * len(members))]
        convert_all(service, [conversion(f"{metric}-{name}", name, metric=metric) for name in chosen])
    return variants


@pytest.fixture
def running(service: Service) -> Service:
    create(service, what=definition(metrics=[SIGNUP, COMPLAINTS]))
    start(service)
    return service


def test_a_draft_has_no_winner(service: Service) -> None:
    create(service)
    refused = refusal(lambda: declare(service, "a", override_reason="anyway"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_DRAFT")


def test_a_decisive_result_may_be_declared(running: Service) -> None:
    converting(running, {"a": 0.10, "b": 0.20})
    found = results(running)
    assert found.recommendation.startswith("Ship b: it improves signup by ")
    decision = declare(running, "b")
    assert (decision.variant, decision.metric, decision.decided_by) == ("b", "signup", "test")
    assert decision.results == found
    assert not decision.objections


def test_an_undecided_result_is_refused(running: Service) -> None:
    converting(running, {"a": 0.10, "b": 0.12})
    assert results(running).recommendation.startswith("Keep running: signup is not decisive")
    refused = refusal(lambda: declare(running, "b"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_DECISIVE")
    assert "no sample was planned" in refused.message
    got = pb.GetExperimentRequest(experiment_key="colour")
    assert running.experiments.GetExperiment(got).experiment.status == pb.EXPERIMENT_STATUS_RUNNING


def test_decisive_for_one_is_not_decisive_for_the_other(running: Service) -> None:
    converting(running, {"a": 0.20, "b": 0.10})
    assert results(running).recommendation == "Keep a: everything else makes signup worse."
    assert refusal(lambda: declare(running, "b")).reason == "NOT_DECISIVE"
    assert declare(running, "a").variant == "a"


def test_the_planned_sample_allows_a_decision(service: Service) -> None:
    create(service, what=definition(planned_sample=2_000))
    start(service)
    converting(service, {"a": 0.10, "b": 0.11}, people=1_999)
    assert "1,999 of 2,000" in refusal(lambda: declare(service, "b")).message
    assign(service, "u-1999")
    assert results(service).recommendation.startswith("Keep a: the planned sample shows no improvement")
    assert declare(service, "b").variant == "b"


def test_a_broken_sample_ratio_is_refused(running: Service) -> None:
    variants = converting(running, {"a": 0.10, "b": 0.25})
    # As when a variant crashes before its exposure is told: a third of b is lost.
    lost = [name for name, variant in variants.items() if variant == "b"][:330]
    with running.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE assignments SET exposed_time = NULL WHERE variant = 1 AND user_key IN "
            f"(SELECT user_key FROM assignments WHERE variant = 1 ORDER BY user_key LIMIT {len(lost)})"
        )
    assert results(running).sample_ratio.mismatch
    assert results(running).recommendation.startswith("Conclude nothing: participants are not split")
    assert refusal(lambda: declare(running, "b")).reason == "SAMPLE_RATIO_MISMATCH"


def test_a_harmed_guardrail_is_refused_unless_overridden(running: Service) -> None:
    converting(running, {"a": 0.10, "b": 0.20})
    converting(running, {"a": 0.05, "b": 0.12}, metric="complaints")
    found = results(running)
    assert found.metrics[1].harmed_variants == ["b"]
    assert found.recommendation == ("Do not ship b: signup improves, but guardrail complaints is harmed.")
    assert refusal(lambda: declare(running, "b")).reason == "GUARDRAIL_HARMED"
    decision = declare(running, "b", override_reason="the complaints were about the test itself")
    assert decision.objections == ["GUARDRAIL_HARMED: guardrail complaints is worse than in the control"]
    entry = running.audit.ListAuditEntries(ListAuditEntriesRequest()).entries[0]
    assert (entry.action, entry.details["overridden_objections"]) == ("DeclareWinner", 1)


@pytest.mark.parametrize(
    ("variant", "changes", "field"),
    [
        ("z", {}, "variant"),
        ("", {}, "variant"),
        ("b", {"metric": "complaints"}, "metric"),
        ("b", {"metric": "nothing"}, "metric"),
    ],
)
def test_bad_choices_are_refused(variant: str, changes: dict[str, str], field: str, running: Service) -> None:
    refused = refusal(lambda: declare(running, variant, override_reason="anyway", **changes))
    assert (refused.code, [*refused.fields]) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


def test_declaring_again_returns_the_decision_and_another_is_refused(running: Service) -> None:
    first = declare(running, "b", override_reason="gut")
    assert declare(running, "b", override_reason="gut") == first
    refused = refusal(lambda: declare(running, "a", override_reason="gut"))
    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    second = refusal(lambda: declare(running, "a", decision_id="x", override_reason="gut"))
    assert second.reason == "EXPERIMENT_COMPLETED"


def test_everybody_gets_the_winner(running: Service) -> None:
    before = {name: assign(running, name).variant for name in ("ann", "bob", "cat", "dan", "eve")}
    assert set(before.values()) == {"a", "b"}
    declare(running, "b", override_reason="gut")
    for name in (*before, "new"):
        found = assign(running, name)
        assert (found.variant, found.reason) == ("b", pb.ASSIGNMENT_REASON_WINNER)
    got = running.experiments.GetExperiment(pb.GetExperimentRequest(experiment_key="colour")).experiment
    assert (got.status, got.winner) == (pb.EXPERIMENT_STATUS_COMPLETED, "b")
    assert results(running).recommendation == "Nothing is left to do: b was declared the winner."


def test_a_decision_can_be_computed_again_from_its_record(running: Service) -> None:
    converting(running, {"a": 0.10, "b": 0.20})
    declare(running, "b")
    listed = running.experiments.ListDecisions(pb.ListDecisionsRequest()).decisions
    control, treatment = listed[0].results.metrics[0].variants
    request = stats.CompareProportionsRequest(
        control=stats.Proportion(participants=control.participants, converted=control.converted),
        treatment=stats.Proportion(participants=treatment.participants, converted=treatment.converted),
    )
    again = running.statistics.CompareProportions(request).comparison
    assert treatment.comparison.sequential == again.sequential
    assert treatment.comparison.chance_to_win_ratio == again.chance_to_win_ratio
    assert treatment.comparison.absolute_effect == again.absolute_effect


def test_decisions_are_listed_newest_first_in_pages(service: Service) -> None:
    for number in range(5):
        key = f"e{number}"
        create(service, key)
        start(service, key)
        declare(service, "a", experiment_key=key, decision_id=f"d{number}", override_reason="gut")
    first = service.experiments.ListDecisions(pb.ListDecisionsRequest(page_size=3))
    rest = service.experiments.ListDecisions(
        pb.ListDecisionsRequest(page_size=3, page_token=first.next_page_token)
    )
    assert [each.decision_id for each in (*first.decisions, *rest.decisions)] == [
        "d4",
        "d3",
        "d2",
        "d1",
        "d0",
    ]
    assert not rest.next_page_token
    one = service.experiments.ListDecisions(pb.ListDecisionsRequest(experiment_key="e2")).decisions
    assert [each.experiment_key for each in one] == ["e2"]


def test_completing_without_a_winner_leaves_none(running: Service) -> None:
    complete(running)
    assert assign(running, "ann").reason == pb.ASSIGNMENT_REASON_NOT_RUNNING
    assert refusal(lambda: declare(running, "b", override_reason="late")).reason == "EXPERIMENT_COMPLETED"


def test_a_decision_rests_on_one_moment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    create(service)
    start(service)
    participants = folded._participants  # noqa: SLF001 - what matters happens between two of its statements

    def interrupted(*asked: Any) -> tuple[dict[int, list[int]], int]:  # noqa: ANN401 - passed on
        found = participants(*asked)
        assign(service, "late")
        convert(service, 1, "late")
        return found

    monkeypatch.setattr(folded, "_participants", interrupted)
    decision = declare(service, "b", override_reason="gut")
    told = [(each.participants, each.converted) for each in decision.results.metrics[0].variants]
    assert told == [(0, 0), (0, 0)]
