"""The words of this service: funnels, the events that fill their steps, people."""

from dataclasses import dataclass
from enum import Enum

from services.funnels.rules import Entry, OrderMode, Rules
from services.funnels.rules import Exclusion as ExclusionRule


@dataclass(frozen=True, slots=True)
class Pattern:
    """Events of a name whose properties meet filters, which are kept as the contract's bytes."""

    event: str
    filters: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and the events that fill it."""

    name: str
    pattern: Pattern
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Events that spoil an attempt strictly after step `after` and strictly before step `before`, from 0."""

    pattern: Pattern
    after: int
    before: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """What a funnel counts; the window is in µs.

    `number` is the key of a kept one, whose step records count too.
    """

    steps: tuple[Step, ...]
    window: int
    mode: OrderMode = OrderMode.ORDERED
    exclusions: tuple[Exclusion, ...] = ()
    number: int | None = None

    @property
    def events(self) -> frozenset[str]:
        """Return the names of all events that fill steps or spoil attempts."""
        patterns = [each.pattern for each in self.steps] + [each.pattern for each in self.exclusions]
        return frozenset(pattern.event for pattern in patterns)

    def rules(self, entry: Entry) -> Rules:
        """Return what an attempt must be like."""
        return Rules(
            steps=len(self.steps),
            window=self.window,
            mode=self.mode,
            entry=entry,
            optional=frozenset(number for number, step in enumerate(self.steps) if step.is_optional),
            exclusions=tuple(ExclusionRule(each.after, each.before) for each in self.exclusions),
        )

    def required_before(self, step: int) -> int | None:
        """Return the nearest step before that may not be skipped; None for the first."""
        return next((at for at in range(step - 1, -1, -1) if not self.steps[at].is_optional), None)

    def required_after(self, step: int) -> int | None:
        """Return the nearest step behind that may not be skipped; None for the last."""
        return next((at for at in range(step + 1, len(self.steps)) if not self.steps[at].is_optional), None)


class Population(Enum):
    """Whom a funnel counts: everybody, users and anonymous ids, or users alone."""

    ACTORS = "actors"
    PEOPLE = "people"
    KNOWN = "known"
