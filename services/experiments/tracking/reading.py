"""Exposures and conversions off the wire, each checked against its experiment."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.catalogue import Catalogue
from services.experiments.domain import VALUE_SCALE, Experiment, Metric, MetricKind, Status
from services.experiments.lifecycle.store import unknown
from services.experiments.people import who
from services.experiments.tracking.store import Conversion, Exposure
from shared.calendar import DAY_MICROS
from shared.errors import FailedPrecondition, NotFound
from shared.validation import Violations, instant, text

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

MAXIMUM_ID = 200
MAXIMUM_AMOUNT = 1e12
# People's clocks, and their time zones mistaken for UTC.
AHEAD_MICROS = DAY_MICROS
EARLIEST_MICROS = 946_684_800_000_000  # 2000-01-01


@dataclass(frozen=True)
class Reader:
    """Reads what is tracked at one moment, in Unix microseconds."""

    catalogue: Catalogue
    now: int
    # Looked for once, however many of a batch name them.
    _unknown_keys: set[str] = field(default_factory=set)

    def conversion(self, message: pb.Conversion) -> Conversion:
        """Return a conversion; raise InvalidArgument, NotFound or FailedPrecondition."""
        violations = Violations()
        text(violations, "conversion_id", message.conversion_id, maximum=MAXIMUM_ID)
        person = who(violations, "person", message.person)
        time = self._time(
            violations,
            "conversion_time",
            message.conversion_time if message.HasField("conversion_time") else None,
        )
        violations.raise_if_any()
        experiment = self._experiment(message.experiment_key)
        metric = _tracked(experiment, message.metric)
        if metric is None:
            violations.add("metric", f"is none that {experiment.key} tracks: {_names(experiment)}")
            violations.raise_if_any()
            raise AssertionError
        value = _value(violations, metric, message.value if message.HasField("value") else None)
        violations.raise_if_any()
        return Conversion(message.conversion_id, experiment.experiment_id, person, metric.name, time, value)

    def exposure(self, message: pb.Exposure) -> Exposure:
        """Return an exposure; raise InvalidArgument, NotFound or FailedPrecondition."""
        violations = Violations()
        person = who(violations, "person", message.person)
        given = message.exposure_time if message.HasField("exposure_time") else None
        time = self._time(violations, "exposure_time", given)
        violations.raise_if_any()
        experiment = self._experiment(message.experiment_key)
        position = experiment.position(message.variant)
        if message.variant and position is None:
            violations.add("variant", f"is none of {experiment.key}")
        violations.raise_if_any()
        return Exposure(experiment.experiment_id, person, time, position)

    def _time(self, violations: Violations, field: str, stamp: "Timestamp | None") -> int:
        if stamp is None:
            return self.now
        time = instant(violations, field, stamp)
        if time is not None and not EARLIEST_MICROS <= time <= self.now + AHEAD_MICROS:
            violations.add(field, "must lie between 2000 and 24 hours ahead")
        return time or self.now

    def _experiment(self, key: str) -> Experiment:
        if key in self._unknown_keys:
            raise unknown(key)
        try:
            experiment = self.catalogue.with_experiment(key).experiment(key)
        except NotFound:
            self._unknown_keys.add(key)
            raise
        if experiment.status not in {Status.RUNNING, Status.PAUSED}:
            state = experiment.status.name
            raise FailedPrecondition(f"experiment {key} is {state.lower()}", f"EXPERIMENT_{state}")
        return experiment


def _tracked(experiment: Experiment, name: str) -> Metric | None:
    """Return the metric of this name, or the first one, of those that no events feed."""
    return next((each for each in experiment.metrics if not each.feed and name in {"", each.name}), None)


def _names(experiment: Experiment) -> str:
    return ", ".join(each.name for each in experiment.metrics if not each.feed)[:500]


def _value(violations: Violations, metric: Metric, value: float | None) -> int:
    """Return millionths, 0 where there is none."""
    if value is None:
        if metric.kind is not MetricKind.CONVERSION:
            violations.add("value", f"is required by metric {metric.name}")
        return 0
    if not math.isfinite(value) or abs(value) > MAXIMUM_AMOUNT:
        violations.add("value", "must be finite and within ± 10¹²")
        return 0
    if value < 0 and not metric.allow_negative:
        violations.add("value", f"must not be below 0 for metric {metric.name}")
    return round(value * VALUE_SCALE)
