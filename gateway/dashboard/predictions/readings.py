"""How numbers and times of the tab Predictions read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.dashboard.page import formats
from gateway.dashboard.predictions import asking

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.dashboard.page.scope import Scope
    from gateway.dashboard.predictions.asking import Choice

_UNCOUNTED: Final = frozenset({"currency", "ratio", "seconds", "probability", "days"})
# From here on fractions are not worth reading.
_FRACTIONS_BELOW: Final = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """How numbers and times of this page read."""

    choice: "Choice"
    scope: "Scope"
    unit: str
    currency: str

    def number(self, value: float) -> str:
        """Return a value with its unit."""
        has_fraction = value != round(value) and abs(value) < _FRACTIONS_BELOW
        if has_fraction and self.unit != "ratio":
            return " ".join(filter(None, (formats.significant(value), self._money)))
        return formats.quantity(value, self.unit, self.currency)

    @property
    def _money(self) -> str:
        return self.currency if self.unit == "currency" else ""

    def between(self, lower: float, upper: float) -> str:
        """Return the ends of an interval."""
        return f"{self.number(lower)} to {self.number(upper)}"

    def label(self, start: "datetime") -> str:
        """Return how an interval is called in a table."""
        return asking.full_label(start, self.choice.interval, self.scope)

    def short_label(self, start: "datetime") -> str:
        """Return how an interval is called under a chart."""
        return asking.label(start, self.choice.interval, self.scope)

    @property
    def whole(self) -> bool:
        """Whether an axis of these values needs no fractions."""
        return self.unit not in _UNCOUNTED

    def axis_label(self, value: float) -> str:
        """Return a value as it stands at the axis."""
        return formats.percent(value) if self.unit == "ratio" else formats.short(value)


def level(ratio: float) -> str:
    """Return the level of an interval: 80 %."""
    return f"{100 * ratio:.3g} %"
