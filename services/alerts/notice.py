"""What receivers are told, as it was known when it was decided. Pure; kept as JSON until it is delivered."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from services.alerts.condition import NoticeKind


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice about an alert. Instants are Unix microseconds; what there is none of is None."""

    kind: NoticeKind
    alert_id: str
    name: str
    episode: int
    sequence: int
    source: str
    metric: str
    # Of the metric, and of the alert.
    metric_labels: Mapping[str, str]
    labels: Mapping[str, str]
    # The rule in words: "above 5".
    rule: str
    threshold: float
    time_zone: str
    # The length of a window as it mostly is.
    interval_seconds: int
    message: str
    # When it was decided.
    decided: int
    # When the episode began.
    fired: int | None = None
    window_start: int | None = None
    window_end: int | None = None
    value: float | None = None
    compared: float | None = None
    sample: int | None = None
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        """Return what JSON can hold; infinities as text."""
        fields = asdict(self)
        for name in ("value", "compared"):
            fields[name] = number_text(fields[name])
        return fields | {"kind": self.kind.value}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> Self:
        """Return what `to_json` made, whatever a later version added to it."""
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        known["kind"] = NoticeKind(int(str(stored["kind"])))
        for name in ("value", "compared"):
            if isinstance(known.get(name), str):
                known[name] = float(str(known[name]))
        return cls(**known)  # type: ignore[arg-type]  # its own fields, as it wrote them


def number_text(value: float | None) -> float | str | None:
    """Return a number as JSON and PostgreSQL both read it: "Infinity" is text to JSON."""
    if value is None or math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"
