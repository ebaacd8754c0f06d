"""What rules and dashboards ask Prometheus: their expressions, and the names and labels in these."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
# Prometheus makes these itself.
OWN_METRICS = {"up"}
OWN_LABELS = {"job", "instance"}
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"')
# A name that is no function, no number's part and no operator.
_PLAIN = re.compile(r"(?<![\w:.])([a-zA-Z_:][a-zA-Z0-9_:]*)\b(?!\s*\()")
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Asked:
    """A metric and the labels an expression takes it to have."""

    metric: str
    labels: frozenset[str]


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in DASHBOARDS]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel, those of rows as well."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboard_expressions() -> Iterator[str]:
    """Yield each expression, with a value where Grafana would put one."""
    for dashboard in dashboards():
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                yield target["expr"].replace("$__rate_interval", "5m").replace("$job", "events")


def expressions() -> list[str]:
    return [*(rule["expr"] for rule in rules()), *dashboard_expressions()]


def asked(expression: str) -> set[Asked]:
    """Return what an expression asks for; labels it groups by are taken to be of every metric it names."""
    bare = _RANGE.sub(" ", expression)
    grouped = {
        label.strip() for labels in _GROUPING.findall(bare) for label in labels.split(",") if label.strip()
    }
    bare = _GROUPING.sub(" ", bare)
    found = {
        Asked(metric, frozenset(grouped | set(_MATCHER.findall(matchers))))
        for metric, matchers in _SELECTOR.findall(bare)
    }
    plain = set(_PLAIN.findall(_SELECTOR.sub(" ", bare))) - _OPERATORS
    return found | {Asked(metric, frozenset(grouped)) for metric in plain}
