"""The tab Alerts over a real alerts service that watches a real events service."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from brain.alerts.v1 import definition_pb2
from brain.common.v1 import common_pb2

from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.alert_pages import TAB, VISITS, act, row, watch
from tests.gateway.dashboard.conftest import FORMULA, NOW, SCRIPT
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.alerts.asking import get, webhook
from tests.services.alerts.conftest import Service, running
from tests.services.alerts.receivers import http_receiver
from tests.services.events.conftest import Service as EventsService


@pytest.fixture
def analyst_file(token_for: Callable[..., str], tmp_path: Path) -> Path:
    path = tmp_path / "alerts.token"
    path.write_text(token_for(Role.ANALYST))
    return path


@pytest.fixture
def alerts(
    events_service: EventsService,
    alerts_database: str,
    token_keys: tuple[bytes, bytes],
    dashboard_key_file: Path,
    analyst_file: Path,
) -> Iterator[Service]:
    with running(
        alerts_database,
        Clock(int(NOW.timestamp() * 1e6)),
        token_keys[0],
        dashboard_key_file,
        metric_sources={"events": f"127.0.0.1:{events_service.application.server.port}"},
        sources_token_file=analyst_file,
    ) as service:
        yield service


@pytest.fixture
def site(
    events_service: EventsService, alerts: Service, dashboard_key_file: Path, token_for: Callable[..., str]
) -> Iterator[Site]:
    port = events_service.application.server.port
    address = f"127.0.0.1:{alerts.application.server.port}"
    with gateway(port, dashboard_key_file, NOW.timestamp, alerts_address=address, currency="GBP") as origin:
        yield Site(origin, token_for(Role.ADMIN))


def test_what_fires_stands_first_with_its_value_and_threshold(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts, "a-calm-one", name="Calm", threshold=50.0)
    watch(alerts)
    alerts.look()
    page = visitor.get(TAB).text
    assert "1 of 2 fires." in page
    assert page.index(">Visits</a>") < page.index(">Calm</a>")
    fires = row(page, ">Visits</a>")
    for fact in ("status-firing", "&gt; 20 events", "30 events", "under a minute"):
        assert fact in fires
    assert "status-ok" in row(page, ">Calm</a>")
    assert "Fires when event_count (event visited) of a day is above 20 events." in page
    # What fires is chosen, and its rule replayed: thirty days back only yesterday breached.
    assert "it would have fired once" in page
    assert page.count('class="line series-6"') == 2  # the threshold, and its swatch in the legend
    assert "breached: an episode began" in row(page, "10 Nov, 00:00 to 11 Nov, 00:00")
    assert "Tells nobody: it is only shown here." in page


def test_changes_are_told_in_percent_with_what_they_are_made_of(
    visitor: httpx.Client, alerts: Service
) -> None:
    watch(
        alerts,
        condition=definition_pb2.ALERT_CONDITION_CHANGE_RATIO,
        threshold=0.5,
        baseline_offset_intervals=7,
    )
    alerts.look()
    page = visitor.get(TAB).text
    assert "rises by more than 50.0 % against the one 7 days before" in page
    assert "+200 %" in row(page, ">Visits</a>")
    assert "30 events after 10 events" in page


def test_money_has_its_currency(visitor: httpx.Client, alerts: Service) -> None:
    revenue = definition_pb2.MetricReference(
        source="events", name="revenue", interval=common_pb2.INTERVAL_DAY
    )
    watch(alerts, metric=revenue, condition=definition_pb2.ALERT_CONDITION_LESS_THAN, threshold=7.0)
    alerts.look()
    assert "&lt; 7 GBP" in row(visitor.get(TAB).text, ">Visits</a>")


def test_why_there_is_no_value_is_told(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts)
    page = visitor.get(TAB).text
    assert "not looked at yet" in row(page, ">Visits</a>")
    assert "its first window is judged when it is over" in page
    watch(alerts, "few", min_sample=1_000)
    alerts.look()
    page = visitor.get(f"{TAB}?key=few").text
    assert "too few observations to judge" in row(page, "key=few")
    assert "windows could be judged: no value, or too few observations" in page


def test_nothing_there_says_how_to_begin(visitor: httpx.Client) -> None:
    page = visitor.get(TAB).text
    assert "brain alerts create" in page
    assert "Nothing is silenced." in page
    assert "revenue-drop" in page


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "The alerts service is not connected here: set GATEWAY_ALERTS_ADDRESS."),
        ("127.0.0.1:1", "The alerts service does not answer at the moment."),
    ],
)
def test_a_service_that_is_away_is_told(
    events_service: EventsService,
    dashboard_key_file: Path,
    token_for: Callable[..., str],
    address: str,
    said: str,
) -> None:
    port = events_service.application.server.port
    with (
        gateway(port, dashboard_key_file, NOW.timestamp, alerts_address=address) as origin,
        Site(origin, token_for(Role.ADMIN)).signed_in() as visitor,
    ):
        page = visitor.get(TAB)
        assert (page.status_code, page.text.count(said)) == (200, 1)
        assert "Daily active users" in page.text
        assert visitor.get(f"{TAB}/history.csv?key=x").status_code in {501, 503}


def test_a_metric_that_cannot_be_read_leaves_the_rest(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts)
    alerts.look()
    with alerts.engine.begin() as connection:
        # As if the settings had lost the service since.
        gone = "UPDATE alerts SET definition = jsonb_set(definition, '{metric,source}', '\"gone\"')"
        connection.exec_driver_sql(gone)
    page = visitor.get(TAB).text
    assert "must be one of the services this one reads: events" in page
    assert "breached: an episode began" in page


def test_names_are_shown_as_text(visitor: httpx.Client, alerts: Service) -> None:
    metric = definition_pb2.MetricReference()
    metric.CopyFrom(VISITS)
    metric.labels["event"] = SCRIPT
    watch(alerts, name=SCRIPT, metric=metric)
    page = visitor.get(TAB).text
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    failed = act(visitor, "pause", key=SCRIPT)
    assert SCRIPT not in failed


def test_unknown_alerts_and_bad_addresses_are_told(visitor: httpx.Client) -> None:
    assert "there is no alert &#39;x&#39;" in visitor.get(f"{TAB}?key=x").text
    assert "There is no ready-made rule “x”." in visitor.get(f"{TAB}?rule=x").text
    for bad in (f"key={'x' * 101}", "rule=error-spike&threshold=nan", "rule=error-spike&threshold=x"):
        assert visitor.get(f"{TAB}?{bad}").status_code == 400


def test_history_goes_out_as_csv_without_formulas(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts)
    alerts.look()
    with alerts.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE history SET detail = %s", (FORMULA,))
    file = visitor.get(f"{TAB}/history.csv?key=visits")
    assert file.headers["content-disposition"] == 'attachment; filename="alert-visits.csv"'
    [line] = csv.DictReader(io.StringIO(file.text.lstrip("\N{ZERO WIDTH NO-BREAK SPACE}")))
    assert (line["value"], line["threshold"], line["condition"], line["told"]) == (
        "30.0",
        "20.0",
        "firing",
        "fire",
    )
    assert line["detail"] == f"'{FORMULA}"


def test_an_episode_is_taken_care_of_and_the_alert_paused_and_deleted(
    visitor: httpx.Client, alerts: Service
) -> None:
    watch(alerts)
    alerts.look()
    assert "You take care of visits." in act(visitor, "acknowledge", key="visits")
    page = visitor.get(TAB).text
    assert "admin takes care" in row(page, ">Visits</a>")
    assert "alerts/acknowledge?" not in page
    paused = act(visitor, "pause", key="visits")
    assert "visits is paused." in paused
    assert "status-paused" in row(paused, ">Visits</a>")
    assert not get(alerts, "visits").active
    assert "visits is looked at again." in act(visitor, "resume", key="visits")
    gone = act(visitor, "delete", key="visits")
    assert "visits is deleted." in gone
    assert "No alert yet." in gone
    assert "there is no alert" in act(visitor, "pause", key="visits")


def test_a_silence_is_made_and_ended(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts)
    made = {"key": "visits", "hours": "4", "comment": SCRIPT, "silence_id": "s-1"}
    page = act(visitor, "silence", **made)
    assert "visits is silent for 4 hours." in page
    assert "12:26:40" in row(page, "&lt;script&gt;")
    alerts.look()
    assert "silent until 11 Nov 2011, 12:26:40" in row(visitor.get(TAB).text, ">Visits</a>")
    # The form sent twice makes no second one.
    act(visitor, "silence", **made)
    assert visitor.get(TAB).text.count("/alerts/expire") == 1
    assert "every alert" in act(visitor, "silence", hours="1", silence_id="s-2")
    act(visitor, "expire", silence_id="s-1")
    act(visitor, "expire", silence_id="s-2")
    assert "Nothing is silenced." in visitor.get(TAB).text
    assert "A silence lasts" in act(visitor, "silence", hours="9999", silence_id="s-3")


def test_channels_are_tried_and_what_was_told_is_listed(visitor: httpx.Client, alerts: Service) -> None:
    with http_receiver() as receiver:
        watch(alerts, channels=[webhook(receiver.url)])
        assert "accepted it" in act(visitor, "test", key="visits")
        alerts.look()
        alerts.tell()
        page = visitor.get(TAB).text
    assert f"Tells webhook {receiver.url}" in page
    ledger = row(page, "<td>webhook</td>")
    assert "fire" in ledger
    assert "delivered" in ledger
    assert "did not take it" in act(visitor, "test", key="visits")


def test_a_ready_made_rule_is_tried_and_made(visitor: httpx.Client, alerts: Service) -> None:
    page = visitor.get(f"{TAB}?rule=error-spike").text
    assert "Fill in event to see when it would have fired." in page
    assert "/alerts/create" not in page
    page = visitor.get(f"{TAB}?rule=error-spike&label.event=visited&threshold=2.5").text
    assert "Fires when event_count (event visited) of an hour rises by more than 250 %" in page
    assert "windows that could be judged it would have fired" in page
    assert "/alerts/create" in page
    filled = {"rule": "error-spike", "label.event": "visited", "threshold": "2.5", "name": "Spike"}
    refused = act(visitor, "create", alert_id="a b", **filled)
    assert "must be 1 to 100 letters" in refused
    assert 'value="visited"' in refused  # nothing has to be filled in again
    made = act(visitor, "create", alert_id="spike", **filled)
    assert "spike is watched." in made
    definition = get(alerts, "spike").definition
    assert (definition.threshold, definition.recovery_threshold) == (2.5, 1.25)
    assert dict(definition.metric.labels) == {"event": "visited"}
    told = act(
        visitor, "create", alert_id="told", **filled, channel="webhook", recipients="http://10.0.0.1/x"
    )
    assert "The alerts service answered" in told


def test_rules_of_services_that_are_not_read_cannot_be_chosen(visitor: httpx.Client, alerts: Service) -> None:
    page = visitor.get(TAB).text
    assert "<b>outside-forecast</b>" in page
    assert "The alerts service does not read the service of its metric." in page


def test_analysts_look_and_change_nothing(site: Site, alerts: Service, token_for: Callable[..., str]) -> None:
    watch(alerts, channels=[webhook("http://127.0.0.1:9/hook/secret")])
    with Site(site.origin, token_for(Role.ANALYST)).signed_in() as visitor:
        page = visitor.get(f"{TAB}?rule=revenue-drop").text
        assert "Revenue drop" in page
        assert 'action="/admin/analytics/alerts/' not in page
        assert "secret" not in page
        assert "lacks" in act(visitor, "pause", key="visits") or get(alerts, "visits").active


def test_forms_from_elsewhere_are_refused(visitor: httpx.Client, alerts: Service) -> None:
    watch(alerts)
    refused = visitor.post(f"{TAB}/delete", data={"proof": "0" * 64, "key": "visits"})
    assert refused.status_code == 403
    assert get(alerts, "visits").active
