"""Prometheus' and Alertmanager's own tools on their files."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.watching import expressions
from tests.deploy.watching.expressions import DEPLOY

pytestmark = pytest.mark.peers


def run(*command: str | Path) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_configuration_and_its_rules_are_valid() -> None:
    said = run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert f"SUCCESS: {len(expressions.RULES)} rule files found" in said


def test_alerts_fire_when_they_should_and_at_no_other_time() -> None:
    tests = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
    said = run("promtool", "test", "rules", *tests)
    assert said.count("SUCCESS") == len(tests) == 2


def test_every_alert_fires_in_a_test() -> None:
    tests = (DEPLOY / "prometheus" / "tests").glob("*.yml")
    tested = "".join(path.read_text() for path in tests)
    alerts = {rule["alert"] for rule in expressions.rules() if "alert" in rule}
    assert {alert for alert in alerts if f'alertname="{alert}"' not in tested} == set()


def test_every_expression_of_a_dashboard_parses(tmp_path: Path) -> None:
    asked = list(expressions.dashboard_expressions())
    rules = [{"record": f"panel{number}", "expr": one} for number, one in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(asked)} rules found" in run("promtool", "check", "rules", tmp_path / "rules.yml")


def test_alertmanager_takes_its_configuration() -> None:
    assert "2 receivers" in run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")
