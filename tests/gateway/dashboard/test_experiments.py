"""The tab A/B Tests over a real experiments service: numbers, warnings, actions."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from brain.experiments.v1 import experiments_pb2 as pb

from gateway.dashboard.experiments import effects
from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW, SCRIPT
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.experiments.asking import (
    REVENUE,
    assign,
    assign_all,
    convert_all,
    create,
    definition,
    person,
    start,
)
from tests.services.experiments.conftest import Service, running

TAB = f"{PREFIX}/experiments"
SIGNUP = pb.Metric(name="signup", kind=pb.METRIC_KIND_CONVERSION, minimum_relative_effect=0.01)
SLOW = pb.Metric(name="seconds", kind=pb.METRIC_KIND_VALUE, decrease_is_better=True, guardrail=True)


@pytest.fixture
def experiments(
    experiments_database: str,
    token_keys: tuple[bytes, bytes],
    dashboard_key_file: Path,
) -> Iterator[Service]:
    now = Clock(int(NOW.timestamp() * 1e6))
    with running(experiments_database, now, token_keys[0], dashboard_key_file) as service:
        yield service


@pytest.fixture
def site(
    events_service: EventsService,
    experiments: Service,
    dashboard_key_file: Path,
    token_for: Callable[..., str],
) -> Iterator[Site]:
    port = events_service.application.server.port
    address = f"127.0.0.1:{experiments.application.server.port}"
    with gateway(port, dashboard_key_file, NOW.timestamp, experiments_address=address) as origin:
        yield Site(origin, token_for(Role.ADMIN))


def a_test_with_an_effect(service: Service, people: int = 1_500, **more: object) -> float:
    """In b four in ten sign up, in a one in ten; b is slower. Return how many more by share."""
    create(service, "colour", definition(metrics=[SIGNUP, REVENUE, SLOW], **more))
    start(service)
    variants = assign_all(service, (f"u-{number}" for number in range(people)))
    made = []
    for number, (name, variant) in enumerate(variants.items()):
        if number % 10 < (4 if variant == "b" else 1):
            made.append(converted(f"s-{number}", name, "signup"))
        made.append(converted(f"r-{number}", name, "revenue", 10 + number % 7))
        made.append(converted(f"t-{number}", name, "seconds", 1 + number % 3 + (variant == "b")))
    convert_all(service, made)
    signed = Counter(variants[each.person.user_id] for each in made if each.metric == "signup")
    people_of = Counter(variants.values())
    return signed["b"] / people_of["b"] - signed["a"] / people_of["a"]


def converted(identity: str, name: str, metric: str, value: float | None = None) -> pb.Conversion:
    return pb.Conversion(
        conversion_id=identity, experiment_key="colour", person=person(name), metric=metric, value=value
    )


def test_results_stand_in_the_table_with_their_method(visitor: httpx.Client, experiments: Service) -> None:
    effect = a_test_with_an_effect(experiments)
    page = visitor.get(TAB).text  # the one that runs is chosen
    rows = [part.partition("</tr>")[0] for part in page.split("<tr")]
    [row] = [part for part in rows if '<th scope="row">b</th>' in part and "points" in part]
    assert "better" in row
    assert f"+{100 * effect:.1f} points" in row
    assert "&lt; 0.001" in row
    assert "asymptotic confidence sequence" in page
    assert "No sample was planned. Intervals and p-values hold however often you look." in page
    assert "Power is short for signup" in page
    assert "Harmed by b." in page
    assert "Do not ship b" in page
    assert "1,500" in page


def test_a_broken_split_is_told_before_anything_else(visitor: httpx.Client, experiments: Service) -> None:
    create(experiments, what=definition(metrics=[SIGNUP]))
    start(experiments)
    assign_all(experiments, (f"u-{number}" for number in range(400)))
    with experiments.engine.begin() as connection:
        # As if most of b had been lost on their way.
        connection.exec_driver_sql("DELETE FROM assignments WHERE variant = 1 AND mod(user_key, 10) > 0")
    page = visitor.get(TAB).text
    assert "Participants are not split as allocated" in page
    assert 'role="alert"' in page


def test_absent_numbers_have_their_reason(visitor: httpx.Client, experiments: Service) -> None:
    create(experiments)
    assert "A draft: nobody gets a variant" in visitor.get(f"{TAB}?key=colour").text
    start(experiments)
    page = visitor.get(f"{TAB}?key=colour").text
    assert "fewer than 5 participants of a variant converted" in page
    assert "Wait: nobody takes part yet." in page


def test_nothing_there_says_how_to_begin(visitor: httpx.Client) -> None:
    assert "brain experiments create" in visitor.get(TAB).text


def test_names_are_shown_as_text(visitor: httpx.Client, experiments: Service) -> None:
    what = definition(metrics=[pb.Metric(name=SCRIPT, kind=pb.METRIC_KIND_CONVERSION)], hypothesis=SCRIPT)
    what.name = SCRIPT
    create(experiments, what=what)
    start(experiments)
    page = visitor.get(TAB).text
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page


def test_unknown_and_bad_keys_are_told(visitor: httpx.Client) -> None:
    assert "there is no experiment &#39;x&#39;" in visitor.get(f"{TAB}?key=x").text
    assert visitor.get(f"{TAB}?key={'x' * 101}").status_code == 400


def act(visitor: httpx.Client, action: str, **fields: str) -> str:
    page = visitor.get(f"{TAB}?key=colour").text
    proof = page.partition('name="proof" value="')[2].partition('"')[0]
    done = visitor.post(f"{TAB}/{action}", data={"proof": proof, "key": "colour", **fields})
    assert done.status_code == 303
    return visitor.get(done.headers["location"]).text


def test_an_experiment_is_run_and_decided_from_the_page(visitor: httpx.Client, experiments: Service) -> None:
    create(experiments)
    assert "colour is running." in act(visitor, "start")
    assert "colour is paused." in act(visitor, "pause")
    act(visitor, "start")
    refused = act(visitor, "declare", variant="b", decision_id="d-1")
    assert "b is not declared: signup is not decisive" in refused
    decided = act(visitor, "declare", variant="b", decision_id="d-1", override_reason="gut")
    assert "colour has a winner." in decided
    assert "<b>b</b> by signup, declared by admin “gut”, although signup is not decisive" in decided
    assert "Nothing is left to do: b was declared the winner." in decided
    assert "completed" in decided
    assert "colour is completed, so it cannot pause" in act(visitor, "pause")


def test_an_analyst_sees_no_buttons_and_may_not_press_them(
    site: Site, experiments: Service, token_for: Callable[..., str]
) -> None:
    create(experiments)
    with Site(site.origin, token_for(Role.ANALYST)).signed_in() as analyst:
        assert "experiments/start" not in analyst.get(f"{TAB}?key=colour").text
        assert "needs the role admin" in act(analyst, "start")
    assert experiments.experiments.GetExperiment(
        pb.GetExperimentRequest(experiment_key="colour")
    ).experiment.status == pb.EXPERIMENT_STATUS_DRAFT  # fmt: skip


def test_results_are_a_file(visitor: httpx.Client, experiments: Service) -> None:
    a_test_with_an_effect(experiments, planned_sample=1_000)
    answer = visitor.get(f"{TAB}/results.csv?key=colour")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [(row["metric"], row["variant"]) for row in rows[:2]] == [("signup", "a"), ("signup", "b")]
    assert (rows[0]["p_value"], rows[0]["interval_lower"]) == ("", "")
    assert float(rows[1]["p_value"]) < 1e-9
    assert rows[1]["method"] == "pooled z-test, Newcombe interval"
    assert float(rows[1]["interval_lower"]) < float(rows[1]["absolute_effect"])
    assert visitor.get(f"{TAB}/results.csv?key=x").status_code == 404


def test_intervals_lie_on_one_axis_around_zero() -> None:
    def variant(low: float, point: float, high: float) -> pb.VariantResult:
        made = pb.VariantResult(variant="x", participants=9)
        made.comparison.absolute_effect = point
        made.comparison.interval.lower, made.comparison.interval.upper = low, high
        return made

    metric = pb.Metric(name="m", kind=pb.METRIC_KIND_VALUE, decrease_is_better=True)
    control = pb.VariantResult(variant="a")
    result = pb.MetricResult(metric=metric, variants=[control, variant(-4, -2, 0), variant(1, 2, 3)])
    _, first, second = effects.metric_table(result, fixed=True).rows
    assert first.drawn == effects.Drawn(4, 27, 50)
    assert second.drawn == effects.Drawn(61.5, 73, 84.5)
    assert (first.verdict, second.verdict) == ("unclear", "worse")


def test_a_metric_is_drawn_day_by_day(visitor: httpx.Client, experiments: Service) -> None:
    create(experiments, what=definition(metrics=[SIGNUP, REVENUE]))
    start(experiments)
    names = assign_all(experiments, (f"u-{number}" for number in range(40)))
    convert_all(experiments, [converted(f"r-{name}", name, "revenue", 30) for name in names])
    with experiments.engine.begin() as connection:
        for table, column in (("experiments", "started_time"), ("assignments", "exposed_time")):
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = {column} - interval '3 days'")
    page = visitor.get(f"{TAB}?key=colour&metric=revenue").text
    assert "revenue over time, 2 variants at the end of 4 days" in page
    table = page.partition('aria-label="revenue over time"')[2].partition("</table>")[0]
    rows = [row.split("</td>")[0].rpartition(">")[2] for row in table.split("<tr>")[2:]]
    assert rows == ["0", "0", "0", "30.0"]
    assert "signup over time" in visitor.get(f"{TAB}?key=colour&metric=nonsense").text


def test_results_stand_beside_each_other_by_attribute(visitor: httpx.Client, experiments: Service) -> None:
    create(experiments, what=definition(metrics=[SIGNUP], break_down_attributes=["plan"]))
    start(experiments)
    for number in range(6):
        assign(experiments, f"u-{number}", plan=SCRIPT if number < 4 else "pro")
    page = visitor.get(f"{TAB}?key=colour&by=plan").text
    shown = [part.partition("</h4>")[0] for part in page.split("<h4>")[1:]]
    assert shown == ["plan: &lt;script&gt;alert(1)&lt;/script&gt;", "plan: pro"]
    assert "<h4>" not in visitor.get(f"{TAB}?key=colour&by=country").text
