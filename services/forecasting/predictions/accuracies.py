"""How good predictions were, summed up by the database."""

from typing import TYPE_CHECKING

from sqlalchemy import text

from services.forecasting.predictions.selection import LABELS, SELECTED, Selection

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy import Connection

_ACCURACY = f"""
SELECT p.type, p.source, p.metric, p.model_version, p.interval, {{horizon}} AS horizon,
       count(*) AS predictions, avg(abs(p.predicted - a.actual)) AS mean_absolute_error,
       avg(CASE WHEN p.predicted = 0 AND a.actual = 0 THEN 0
                ELSE 2 * abs(p.predicted - a.actual) / (abs(p.predicted) + abs(a.actual)) END) AS smape_ratio,
       avg(abs(p.predicted - a.actual) / p.scale) AS mase,
       avg((a.actual BETWEEN p.lower AND p.upper)::int) FILTER (WHERE p.lower IS NOT NULL) AS covered_ratio,
       avg(p.level_ratio) AS level_ratio,
       avg(p.predicted - a.actual) AS bias,
       avg(a.accuracy_ratio) AS accuracy_ratio
FROM predictions p JOIN actuals a USING (prediction_id)
WHERE {SELECTED}
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6 LIMIT 10000
"""  # noqa: S608 - made of constants
_BY_HORIZON = text(_ACCURACY.format(horizon="p.horizon")).bindparams(LABELS)
_ALL_HORIZONS = text(_ACCURACY.format(horizon="CAST(NULL AS int4)")).bindparams(LABELS)

_PENDING = text(
    f"""
SELECT count(*) FROM predictions p LEFT JOIN actuals a USING (prediction_id)
WHERE a.prediction_id IS NULL AND {SELECTED}
"""  # noqa: S608 - made of constants
).bindparams(LABELS)


def read(
    connection: "Connection", selection: Selection, *, join_horizons: bool
) -> "list[sqlalchemy.RowMapping]":
    """Return how good predictions were, with the columns of PredictionAccuracy."""
    statement = _ALL_HORIZONS if join_horizons else _BY_HORIZON
    return list(connection.execute(statement, selection.parameters()).mappings())


def pending(connection: "Connection", selection: Selection) -> int:
    """Return how many predictions wait for their actual value."""
    return int(connection.execute(_PENDING, selection.parameters()).scalar_one())
