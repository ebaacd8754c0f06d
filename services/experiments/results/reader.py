"""Totals of metrics, however they are fed."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.experiments.domain import Experiment, Metric
from services.experiments.results import store
from services.experiments.results.feeds import EventFeeds
from services.experiments.results.people import Did, shaped, tracked
from services.experiments.results.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True)
class ResultReader:
    """Reads totals of metrics, however they are fed; without feeds from what is tracked here alone."""

    feeds: EventFeeds | None

    def mark_merged(self, connection: "Connection", experiment: Experiment) -> None:
        """Leave out people whose ids, now one, have different variants; in a transaction that may write."""
        if self.feeds is not None and any(metric.feed for metric in experiment.metrics):
            conflicting = self.feeds.conflicting(connection, experiment)
            if conflicting:
                store.mark_conflicting(connection, experiment, conflicting)

    def totals(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        until: int | None = None,
    ) -> Totals:
        """Return totals of metrics, of now or of what happened before a moment in Unix microseconds."""
        names = [metric.name for metric in metrics if metric.feed is None]
        found = store.read_totals(connection, experiment, names, until)
        by_events = [metric for metric in metrics if metric.feed is not None]
        if by_events and self.feeds is not None:
            sums = self.feeds.sums(connection, experiment, by_events, until)
            found = replace(found, sums={**found.sums, **sums})
        participants = [found.participants(variant) for variant in range(len(experiment.variants))]
        return replace(
            found,
            shaped={
                metric.name: shaped(metric, self._did(connection, experiment, metric, until), participants)
                for metric in metrics
                if metric.needs_people
            },
        )

    def _did(
        self, connection: "Connection", experiment: Experiment, metric: Metric, until: int | None
    ) -> Did:
        if metric.feed is None or self.feeds is None:
            return tracked(connection, experiment, metric.name, until)
        return self.feeds.did(connection, experiment, metric, until)
