"""Every metric of events by name, whichever subject it belongs to."""

from typing import TYPE_CHECKING

from services.events.conversion.metrics import ConversionMetrics
from services.events.reading import metrics, money_metrics, saved_metric, session_metrics
from services.events.reading.metrics import Metric, by_name
from services.events.retention import metrics as retention_metrics

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.reading.column_cache import ColumnCache


def catalog(columns: "ColumnCache", engine: "Engine") -> dict[str, Metric]:
    """Return the metrics; some read columns that this process keeps, some the database."""
    return by_name(
        [
            *metrics.METRICS.values(),
            *session_metrics.METRICS,
            *money_metrics.METRICS,
            *saved_metric.METRICS,
            *retention_metrics.METRICS.values(),
            *ConversionMetrics(columns, engine).metrics(),
        ]
    )
