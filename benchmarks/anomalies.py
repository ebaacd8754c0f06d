"""How many injected spikes and drops are found, and how many alerts come for nothing.

Drawn series have nothing else wrong with them. The series of NN5 (cash withdrawals; ../shared/data) have
oddities of their own, which nobody has labelled: alerts on these count as false here.
"""

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Line
from services.forecasting.anomalies.detection import SECONDS_PER_MONTH, Spacing, detect_seasonal

NN5 = Path(__file__).parents[2] / "shared" / "data" / "nn5_daily.csv.gz"
LEARNT_DAYS, JUDGED_DAYS = 90, 365
SERIES = 111
INJECTED = 12
F1_BAR, FALSE_BAR = 0.52, 0.4
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over all series, and the months that were judged."""

    found: int
    missed: int
    false: int
    months: float

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        return 2 * self.found / (2 * self.found + self.missed + self.false)


def run() -> list[Line]:
    """Measure each preset on both."""
    lines = _lines("drawn series", drawn(np.random.default_rng(7)), with_bar=True)
    if NN5.exists():
        return lines + _lines("NN5", nn5(), with_bar=False)
    return [*lines, Line("NN5", f"not measured: {NN5} is missing")]


def drawn(generator: np.random.Generator) -> list[Values]:
    """Return daily counts with a week, a wandering level, and scatter that is heavy-tailed and remembers."""
    days = LEARNT_DAYS + JUDGED_DAYS
    found = []
    for _ in range(SERIES):
        level = np.log(10 ** generator.uniform(1, 4.5)) + np.cumsum(generator.normal(0, 0.01, days))
        week = np.resize(generator.normal(0, 0.25, 7), days)
        scatter = generator.standard_t(5, days) * math.sqrt(3 / 5) * generator.uniform(0.05, 0.25)
        for day in range(1, days):
            scatter[day] = 0.3 * scatter[day - 1] + math.sqrt(0.91) * scatter[day]
        found.append(generator.poisson(np.exp(level + week + scatter)).astype(np.float64))
    return found


def nn5() -> list[Values]:
    """Return the series of NN5, gaps as NaN."""
    with gzip.open(NN5, "rt") as file:
        rows = list(csv.reader(file))[1:]
    table = np.array([[float(text) if text not in {"", "NA"} else math.nan for text in row] for row in rows])
    return [column.astype(np.float64) for column in table.T]


def injected(values: Values, generator: np.random.Generator) -> tuple[Values, list[int]]:
    """Return the series with twelve days multiplied by 1.5 to 3 or 0 to 0.5, and which they are."""
    changed = values.copy()
    days: list[int] = []
    for day in generator.permutation(np.arange(values.size - JUDGED_DAYS, values.size)).tolist():
        is_apart = all(abs(day - other) >= 7 for other in days)
        if len(days) < INJECTED and is_apart and values[day] > 0:
            factor = generator.uniform(1.5, 3) if len(days) % 2 else generator.uniform(0, 0.5)
            changed[day] *= factor
            days.append(day)
    return changed, days


def score(series: list[Values], threshold: float) -> Score:
    """Judge series with injected anomalies."""
    generator = np.random.default_rng(1)
    found = missed = false = 0
    for values in series:
        changed, days = injected(values, generator)
        judged = detect_seasonal(changed, Spacing.DAY, threshold, is_count=False)
        since = values.size - JUDGED_DAYS
        events = [range(each.start, each.end + 1) for each in judged.anomalies if each.end >= since]
        hit = {day for day in days for event in events if day in event}
        found, missed = found + len(hit), missed + len(days) - len(hit)
        false += sum(not hit.intersection(event) for event in events)
    return Score(found, missed, false, len(series) * JUDGED_DAYS * 86_400 / SECONDS_PER_MONTH)


def _lines(name: str, series: list[Values], *, with_bar: bool) -> list[Line]:
    lines = []
    for threshold in (2.5, 3.0, 4.0):
        got = score(series, threshold)
        false = got.false / got.months
        is_default = with_bar and threshold == 3.0
        lines.append(
            Line(
                f"{name}, threshold {threshold:g}",
                f"F1 {got.f1:.2f}, {false:.2f} false alerts a month",
                bar=f"≥ {F1_BAR} at ≤ {FALSE_BAR}" if is_default else "",
                is_met=got.f1 >= F1_BAR and false <= FALSE_BAR if is_default else None,
            )
        )
    return lines
