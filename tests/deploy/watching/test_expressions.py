"""Rules and dashboards hang together; that what they name is exposed, tests/system/test_local.py shows."""

import re
from collections import Counter

import yaml

from deploy import secret_files
from tests.deploy.watching import expressions
from tests.deploy.watching.expressions import DEPLOY, Asked, asked

GUIDE = (DEPLOY.parent / "docs" / "operating.md").read_text()


def test_what_an_expression_asks_for_is_found_in_it() -> None:
    assert asked('sum by (job) (rate(calls{code=~"5..", a!="b"}[5m])) / sum by (job) (rate(calls[5m]))') == {
        Asked("calls", frozenset({"job", "code", "a"})),
        Asked("calls", frozenset({"job"})),
    }
    assert asked("a:b > on (slo) group_left () (14.4 * c) and 64e6 > max(d)") == {
        Asked(name, frozenset({"slo"})) for name in ("a:b", "c", "d")
    }


def test_every_alert_says_how_urgent_it_is_and_the_guide_says_what_to_do() -> None:
    alerts = [rule for rule in expressions.rules() if "alert" in rule]
    assert len(alerts) == 18
    for rule in alerts:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert f"`{rule['alert']}`" in GUIDE
    assert Counter(rule["alert"] for rule in alerts).most_common(1)[0][1] == 1


def test_recorded_series_are_used_and_nothing_is_used_that_is_not_recorded() -> None:
    recorded = {rule["record"] for rule in expressions.rules() if "record" in rule}
    used = {each.metric for one in expressions.expressions() for each in asked(one) if ":" in each.metric}
    assert used == recorded


def test_windows_and_factors_are_those_of_the_workbook() -> None:
    # https://sre.google/workbook/alerting-on-slos/, table 5-8: budget of 30 days, long and short window.
    burning = {rule["alert"]: rule["expr"] for rule in expressions.rules() if "Burn" in rule.get("alert", "")}
    factors = {
        alert: (re.findall(r"rate(\w+)", said), set(re.findall(r"\(([\d.]+) \*", said)))
        for alert, said in burning.items()
    }
    assert factors == {
        "ErrorBudgetBurnsFast": (["1h", "5m"], {"14.4"}),
        "ErrorBudgetBurns": (["6h", "30m"], {"6"}),
        "ErrorBudgetBurnsSlowly": (["3d", "6h"], {"1"}),
    }


def test_every_service_is_scraped() -> None:
    said = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    scraped = {}
    for job in said["scrape_configs"]:
        [found] = job["dns_sd_configs"]
        name = job["job_name"]
        assert found["names"] == compose[name]["networks"]["suite"]["aliases"] == [f"{name}-metrics"]
        scraped[name] = str(found["port"])
    assert scraped == {
        name: compose[name]["environment"][f"{name.upper()}_METRICS_ADDRESS"].rpartition(":")[2]
        for name in (*secret_files.SERVICES, "gateway")
    }


def test_dashboards_have_ids_of_their_own_and_the_provisioned_source() -> None:
    [source] = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    dashboards = expressions.dashboards()
    assert len({one["uid"] for one in dashboards}) == len(dashboards) > 0
    for dashboard in dashboards:
        panels = list(expressions.panels(dashboard))
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            if panel["type"] == "row":
                continue
            assert panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}
            assert panel["targets"]
            assert panel["title"]
