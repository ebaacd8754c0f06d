"""The words of this service: experiments, their life, variants, metrics, people."""

from dataclasses import dataclass
from enum import Enum, IntEnum

# Values are kept as whole numbers of millionths, so that sums are exact and do not depend on order.
VALUE_SCALE = 1_000_000
# Shares are kept in hundredths of a percent.
WHOLE = 10_000
CONTROL = 0
# Outside of these, intervals are of no use and formulas leave the doubles.
CONFIDENCE_LEVELS = (0.5, 0.9999)

JsonValue = str | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


class Status(IntEnum):
    """Where an experiment is in its life, as stored."""

    DRAFT = 1
    RUNNING = 2
    PAUSED = 3
    COMPLETED = 4


# The only steps there are.
STEPS = {
    Status.RUNNING: frozenset({Status.DRAFT, Status.PAUSED}),
    Status.PAUSED: frozenset({Status.RUNNING}),
    Status.COMPLETED: frozenset({Status.RUNNING, Status.PAUSED}),
}


def may_become(now: Status, then: Status) -> bool:
    """Return whether an experiment may take this step."""
    return now in STEPS.get(then, frozenset())


class MetricKind(IntEnum):
    """What a metric says of a variant."""

    CONVERSION = 1
    VALUE = 2
    RATIO = 3


@dataclass(frozen=True, slots=True)
class EventFeed:
    """The events that feed a metric: their name, and their filters as the contract's bytes."""

    event: str
    filters: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is measured; minimum_relative_effect is the smallest change worth seeing."""

    name: str
    kind: MetricKind
    decrease_is_better: bool = False
    guardrail: bool = False
    allow_negative: bool = False
    minimum_relative_effect: float | None = None
    # None: fed by TrackConversion.
    feed: EventFeed | None = None
    # Values above this quantile are cut to it.
    winsorized_quantile: float | None = None
    # So many days before the first exposure explain a part of the differences.
    covariate_days: int | None = None

    @property
    def needs_people(self) -> bool:
        """Return whether sums do not suffice: what each participant did is needed."""
        return self.winsorized_quantile is not None or self.covariate_days is not None


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the things people may see, and its share of new participants in hundredths of a percent."""

    name: str
    value: JsonValue
    share: int


class Operator(Enum):
    """How an attribute is compared."""

    EQUALS = 1
    NOT_EQUALS = 2
    IN = 3
    CONTAINS = 4
    GREATER = 5
    LESS = 6
    EXISTS = 7


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on attributes: a path of names, an operator, the values compared with."""

    path: tuple[str, ...]
    operator: Operator
    values: tuple[JsonValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the people of a namespace, [start, end) in hundredths of a percent."""

    namespace: str
    start: int
    end: int

    def overlaps(self, other: "Slice") -> bool:
        """Return whether somebody is in both."""
        return self.namespace == other.namespace and self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Experiment:
    """What assigning, tracking and results need to know; the first variant is the control.

    `experiment_id` and `allocation` are numbers of the database. Times are Unix microseconds.
    """

    experiment_id: int
    key: str
    status: Status
    variants: tuple[Variant, ...]
    allocation: int
    metrics: tuple[Metric, ...]
    coverage: int
    targeting: tuple[Condition, ...]
    namespace_slice: Slice | None
    tracks_exposures: bool
    window_seconds: int | None
    planned_sample: int | None
    confidence_level: float
    started_time: int | None
    winner: str | None
    # Attributes that are kept at the assignment.
    kept_attributes: tuple[str, ...] = ()
    completed_time: int | None = None

    def position(self, variant: str) -> int | None:
        """Return the position of a variant of this name."""
        return next((at for at, each in enumerate(self.variants) if each.name == variant), None)

    def metric(self, name: str) -> Metric | None:
        """Return the metric of this name."""
        return next((each for each in self.metrics if each.name == name), None)

    @property
    def primary(self) -> Metric:
        """Return the first metric that is no guardrail."""
        return next(each for each in self.metrics if not each.guardrail)
