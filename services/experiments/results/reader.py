"""Totals of metrics, however they are fed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.experiments.domain import Experiment, Metric
from services.experiments.results import store
from services.experiments.results.course import read_course
from services.experiments.results.feeds import EventFeeds
from services.experiments.results.people import Did, shaped, tracked
from services.experiments.results.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class ResultReader:
    """Reads totals of metrics, however they are fed; without feeds from what is tracked here alone."""

    feeds: EventFeeds | None

    def mark_merged(self, engine: "Engine", experiment: Experiment) -> None:
        """Leave out people whose ids, now one, have different variants."""
        if self.feeds is not None:
            conflicting = self.feeds.conflicting(engine, experiment)
            if conflicting:
                with engine.begin() as connection:
                    store.mark_conflicting(connection, experiment, conflicting)

    def warm(self, connection: "Connection", experiment: Experiment) -> None:
        """Read what events feed into memory, where it stays."""
        by_events = [metric for metric in experiment.metrics if metric.feed is not None]
        if by_events and self.feeds is not None:
            self.feeds.sums(connection, experiment, by_events)

    def totals(self, connection: "Connection", experiment: Experiment, metrics: "Sequence[Metric]") -> Totals:
        """Return totals of metrics as they are now."""
        names = [metric.name for metric in metrics if metric.feed is None]
        found = store.read_totals(connection, experiment, names)
        by_events = [metric for metric in metrics if metric.feed is not None]
        if by_events and self.feeds is not None:
            sums = self.feeds.sums(connection, experiment, by_events)
            found = replace(found, sums={**found.sums, **sums})
        return next(self._shaped(connection, experiment, metrics, [None], [found], None))

    def course(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        ends: "Sequence[int]",
    ) -> list[Totals]:
        """Return totals of metrics before each of these rising moments, in Unix microseconds."""
        names = [metric.name for metric in metrics if metric.feed is None]
        found = read_course(connection, experiment, names, ends)
        by_events = [metric for metric in metrics if metric.feed is not None]
        if by_events and self.feeds is not None:
            fed = self.feeds.sums_before(connection, experiment, by_events, ends)
            found = [replace(each, sums={**each.sums, **sums}) for each, sums in zip(found, fed, strict=True)]
        return list(self._shaped(connection, experiment, metrics, ends, found, None))

    def segment_totals(
        self, connection: "Connection", experiment: Experiment, among: NDArray[np.int32]
    ) -> Totals:
        """Return totals of all metrics as they are now, over these people (our keys) alone."""
        metrics = experiment.metrics
        names = [metric.name for metric in metrics if metric.feed is None]
        found = store.recount(connection, experiment, names, among=among.tolist())
        by_events = [metric for metric in metrics if metric.feed is not None]
        if by_events and self.feeds is not None:
            sums = self.feeds.sums_among(connection, experiment, by_events, among)
            found = replace(found, sums={**found.sums, **sums})
        return next(self._shaped(connection, experiment, metrics, [None], [found], among))

    def _did(
        self,
        connection: "Connection",
        experiment: Experiment,
        metric: Metric,
        ends: "Sequence[int | None]",
        among: NDArray[np.int32] | None,
    ) -> Iterator[Did]:
        if metric.feed is None or self.feeds is None:
            people = None if among is None else among.tolist()
            return (tracked(connection, experiment, metric.name, end, people) for end in ends)
        return self.feeds.did(connection, experiment, metric, ends, among)

    def _shaped(
        self,
        connection: "Connection",
        experiment: Experiment,
        metrics: "Sequence[Metric]",
        ends: "Sequence[int | None]",
        found: "Sequence[Totals]",
        among: NDArray[np.int32] | None,
    ) -> Iterator[Totals]:
        """Yield totals of moments with what each participant did by then, of the metrics that need it.

        One by one: columns of everybody at every moment would not fit into memory.
        """
        needed = [metric for metric in metrics if metric.needs_people]
        did = [self._did(connection, experiment, metric, ends, among) for metric in needed]
        for each in found:
            participants = [each.participants(variant) for variant in range(len(experiment.variants))]
            by_then = {
                metric.name: shaped(metric, next(columns), participants)
                for metric, columns in zip(needed, did, strict=True)
            }
            yield replace(each, shaped=by_then)
