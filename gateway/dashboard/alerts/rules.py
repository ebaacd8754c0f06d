"""Ready-made rules: which one is chosen, what was filled in, and the definition that comes of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1 import definition_pb2

from gateway.dashboard.alerts import words
from shared.validation import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.dashboard.alerts.words import Measure
    from shared.validation import Violations

LABEL: Final = "label."
_LONGEST: Final = 2_000
_LONGEST_NUMBER: Final = 32
_MOST_LABELS: Final = 20
# How receivers may be reached, in the order of the form.
KINDS: Final = {name: kind for kind, name in words.CHANNELS.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule being filled in, as the page's address has it; empty texts stand for the rule's own."""

    rule: str = ""
    threshold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        if not self.rule:
            return {}
        given = {"rule": self.rule, "threshold": self.threshold}
        given |= {f"{LABEL}{name}": value for name, value in self.labels.items()}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Rule:
    """A ready-made rule in the list."""

    key: str
    description: str
    # Why it cannot be used; empty: it can.
    reason: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A rule as it was filled in. `missing` are labels that still have no value."""

    key: str
    name: str
    description: str
    definition: definition_pb2.AlertDefinition
    labels: Mapping[str, str]
    missing: tuple[str, ...]
    threshold: str
    # What the threshold is a number of.
    unit: str


def read(violations: "Violations", parameters: Mapping[str, str]) -> Choice:
    """Read the choice of an address or of a form; what is wrong becomes violations."""
    labels = {
        name.removeprefix(LABEL): text(violations, name, value, maximum=_LONGEST, required=False)
        for name, value in parameters.items()
        if name.startswith(LABEL)
    }
    if len(labels) > _MOST_LABELS:
        violations.add(LABEL, f"at most {_MOST_LABELS}")
    threshold = parameters.get("threshold", "")
    if threshold and _number(threshold) is None:
        violations.add("threshold", "must be a finite number as -0.4")
    rule = text(violations, "rule", parameters.get("rule", ""), maximum=100, required=False)
    return Choice(rule, threshold, labels)


def rules(found: pb.ListReadyMadeRulesResponse) -> tuple[Rule, ...]:
    """Return the list."""
    return tuple(
        Rule(
            each.rule_id,
            each.description,
            "" if each.available else "The alerts service does not read the service of its metric.",
        )
        for each in found.rules
    )


def filled(
    found: pb.ListReadyMadeRulesResponse,
    choice: Choice,
    units: Mapping[tuple[str, str], str],
    currency: str,
) -> Filled | None:
    """Return the chosen rule as it was filled in; None where there is none of that name."""
    rule = next((each for each in found.rules if each.rule_id == choice.rule), None)
    if rule is None:
        return None
    definition = definition_pb2.AlertDefinition()
    definition.CopyFrom(rule.definition)
    labels = {name: choice.labels.get(name, "") for name in rule.missing_labels}
    definition.metric.labels.update({name: value for name, value in labels.items() if value})
    threshold = _number(choice.threshold)
    if threshold is not None:
        _take_threshold(definition, threshold)
    return Filled(
        key=rule.rule_id,
        name=definition.name,
        description=rule.description,
        definition=definition,
        labels=labels,
        missing=tuple(name for name, value in labels.items() if not value),
        threshold=f"{definition.threshold:g}",
        unit=_unit(words.measure_of(definition, units, currency)),
    )


def definition_of(rule: Filled, fields: Mapping[str, str]) -> definition_pb2.AlertDefinition:
    """Return what a form makes of a rule: a name, and whom it tells."""
    made = definition_pb2.AlertDefinition()
    made.CopyFrom(rule.definition)
    made.name = fields.get("name", "")
    recipients = list(_recipients(fields.get("recipients", "")))
    if recipients:
        kind = KINDS.get(fields.get("channel", ""), definition_pb2.CHANNEL_KIND_UNSPECIFIED)
        made.channels.add(kind=kind, recipients=recipients)
    return made


def _take_threshold(definition: definition_pb2.AlertDefinition, threshold: float) -> None:
    """Move the threshold, and the recovery threshold in the same proportion."""
    if definition.HasField("recovery_threshold") and definition.threshold:
        definition.recovery_threshold *= threshold / definition.threshold
    definition.threshold = threshold


def _number(given: str) -> float | None:
    try:
        found = float(given) if len(given) <= _LONGEST_NUMBER else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _unit(measure: "Measure") -> str:
    if measure.is_change:
        return "a ratio: −0.4 for a fall by 40 %"
    if measure.is_deviation:
        return "deviations"
    return {"currency": measure.currency, "ratio": "a ratio from 0 to 1"}.get(measure.unit, measure.unit)


def _recipients(given: str) -> "Iterable[str]":
    """Yield the recipients of a line, which blanks or commas divide."""
    yield from given.replace(",", " ").split()
