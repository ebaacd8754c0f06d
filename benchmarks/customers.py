"""CDNOW: fitted on 39 weeks, scored on the weeks after, beside what was published."""

import gzip
import time
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.report import Line, milliseconds
from services.forecasting.customers import bgnbd, gamma_gamma
from services.forecasting.customers.histories import (
    WEEK_MICROS,
    Histories,
    Purchases,
    daily,
    histories,
    outcomes,
)
from services.forecasting.customers.scoring import score
from shared.calendar import DAY_MICROS

CDNOW = Path(__file__).parents[1] / "examples" / "data" / "cdnow_sample.txt.gz"
# Fader, Hardie, Lee 2005, table 2; Fader, Hardie 2013.
PUBLISHED = "0.243, 4.414, 0.793, 2.426, LL −9582.4"
PUBLISHED_AMOUNTS = "6.25, 3.74, 15.44"
BRIER_BAR, CALIBRATION_BAR = 0.115, 0.03


def run() -> list[Line]:
    """Fit and score."""
    bought = purchases()
    end = (date(1997, 9, 30).toordinal() - date(1970, 1, 1).toordinal()) * DAY_MICROS
    seen = histories(bought, end + DAY_MICROS)
    # In the papers ages end where that day begins.
    seen = Histories(
        seen.keys, seen.frequency, seen.recency, seen.age - 1 / 7, seen.repeat_amount, seen.spent
    )
    began = time.perf_counter()
    model = bgnbd.fit(seen)
    seconds = time.perf_counter() - began
    amounts = gamma_gamma.fit(seen)
    fitted = f"{model.r:.3f}, {model.alpha:.3f}, {model.a:.3f}, {model.b:.3f}, LL {model.log_likelihood:.1f}"
    lines = [
        Line("BG/NBD: r, α, a, b", fitted, PUBLISHED),
        Line(
            "Gamma-Gamma: p, q, gamma",
            f"{amounts.p:.2f}, {amounts.q:.2f}, {amounts.gamma:.2f}",
            PUBLISHED_AMOUNTS,
        ),
        Line(f"fitting {seen.keys.size:,} customers", milliseconds(seconds)),
    ]
    for weeks in (13, 26, 39):
        came = outcomes(bought, seen.keys, end + DAY_MICROS, end + DAY_MICROS + weeks * WEEK_MICROS)
        got = score(model.no_purchase(seen, weeks), came.purchases == 0)
        lines.append(
            Line(
                f"no purchase within {weeks} weeks",
                f"Brier {got.brier:.3f}, calibration error {got.calibration_error:.3f}, AUC {got.auc:.3f}",
                f"everybody the same: {got.brier_of_share:.3f}",
                bar=f"≤ {BRIER_BAR}, ≤ {CALIBRATION_BAR}",
                is_met=got.brier <= BRIER_BAR and got.calibration_error <= CALIBRATION_BAR,
            )
        )
    return lines


def purchases() -> Purchases:
    """Return the purchases, by day."""
    rows = [line.split() for line in gzip.decompress(CDNOW.read_bytes()).decode().splitlines()]
    days = [date(int(row[2][:4]), int(row[2][4:6]), int(row[2][6:])).toordinal() for row in rows]
    times = (np.array(days) - date(1970, 1, 1).toordinal()) * DAY_MICROS
    customers = np.array([int(row[1]) for row in rows])
    amounts = np.array([float(row[4]) for row in rows])
    return daily(Purchases(customers, times, amounts), np.arange(times.min(), times.max() + 1, DAY_MICROS))
