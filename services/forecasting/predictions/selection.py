"""Which predictions are meant, in SQL over `predictions p`."""

from dataclasses import dataclass

import sqlalchemy
from sqlalchemy.dialects.postgresql import JSONB

from services.forecasting.predictions.prediction import PredictionType
from shared.calendar import to_datetime_utc

SELECTED = """
    (CAST(:type AS int2) IS NULL OR p.type = :type)
AND (CAST(:source AS text) IS NULL OR p.source = :source)
AND (CAST(:metric AS text) IS NULL OR p.metric = :metric)
AND (CAST(:labels AS jsonb) IS NULL OR p.labels = :labels)
AND (CAST(:user_key AS int4) IS NULL OR p.user_key = :user_key)
AND (CAST(:start AS timestamptz) IS NULL OR p.period_start >= :start AND p.period_start < :end)
AND (CAST(:version AS text) IS NULL OR p.model_version = :version)
AND (CAST(:interval AS int2) IS NULL OR p.interval = :interval)
"""
LABELS = sqlalchemy.bindparam("labels", type_=JSONB(none_as_null=True))


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions on predictions; None is any. `period` is where periods begin, [start, end) in Unix µs."""

    type: PredictionType | None = None
    source: str | None = None
    metric: str | None = None
    labels: dict[str, str] | None = None
    user_key: int | None = None
    period: tuple[int, int] | None = None
    version: str | None = None
    interval: int | None = None

    def parameters(self) -> dict[str, object]:
        """Return the parameters of statements with these conditions."""
        start, end = self.period or (None, None)
        return {
            "type": None if self.type is None else self.type.value,
            "source": self.source,
            "metric": self.metric,
            "labels": self.labels,
            "user_key": self.user_key,
            "start": None if start is None else to_datetime_utc(start),
            "end": None if end is None else to_datetime_utc(end),
            "version": self.version,
            "interval": self.interval,
        }
