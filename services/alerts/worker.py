"""Looks at due alerts, any number of replicas side by side."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.alerts import definitions
from services.alerts.looking import Answer, look, needed_range
from services.alerts.outcome import Subject
from services.alerts.set_back import SetBack
from services.alerts.sources import Source, SourceAwayError, Wanted
from services.alerts.store import alerts, silences, states
from shared.chores import Chore
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection, Engine

    from services.alerts.measures import Measures
    from services.alerts.outcome import Claimed, Outcome
    from services.alerts.plan import Plan

# Many, so that alerts that share a series meet: it is read once for them.
CLAIMED_AT_ONCE = 5_000
SERIES_A_CALL = 200
# Written in one transaction.
ALERTS_A_CALL = 1_000
# No call begins later after its lease was taken: it takes 11 s at most, and leases last 60.
_LOOKING_SECONDS = 45.0
# One series that takes the whole deadline fails those it is read with: those that failed are read in small
# company, another each time.
SERIES_A_CALL_AFTER_FAILURE = 20
IDLE_SECONDS = 0.5
_REMEMBERED_PLANS = 100_000


@dataclass(frozen=True)
class Worker:
    """Judges the alerts of one source; with None those of sources that this service is not told of."""

    engine: "Engine"
    source: Source | None
    known: Sequence[str]
    clock: Callable[[], int]
    reporting_zone: "ZoneInfo"
    measures: "Measures"
    monotonic: Callable[[], float] = time.monotonic
    _plans: "dict[tuple[int, int], tuple[str, Plan, Mapping[str, str]]]" = field(default_factory=dict)
    _set_back: SetBack = field(default_factory=SetBack)

    def chore(self) -> Chore:
        """Return the work to do again and again."""
        name = self.source.name if self.source else "unknown sources"
        return Chore(f"judging {name}", lambda: 0.0 if self.step() else IDLE_SECONDS)

    def step(self) -> int:
        """Look at the alerts that are due, at most CLAIMED_AT_ONCE; return how many were."""
        now, began = self.clock(), self.monotonic()
        source = self.source.name if self.source else None
        self._wake_if_set_back(source, now, began)
        with self.engine.begin() as connection:
            claimed = states.claim(connection, source, self.known, now, CLAIMED_AT_ONCE)
            if not claimed:
                return 0
            self._learn(connection, claimed)
        subjects = [Subject(each, *self._plans[_version(each)]) for each in claimed]
        until = began + _LOOKING_SECONDS
        away: str | None = None
        chunks = _chunks(subjects)
        while chunks and self.monotonic() <= until:
            away = self._look(chunks.pop(0), away)
        left = [subject.claimed for chunk in chunks for subject in chunk]
        if left:
            with self.engine.begin() as connection:
                states.release(connection, left)
        return len(claimed) - len(left)

    def _wake_if_set_back(self, source: str | None, now: int, uptime_seconds: float) -> None:
        """Wait with no alert until the clock shows again what it showed before it was set back."""
        if self._set_back.is_seen(now, uptime_seconds):
            with self.engine.begin() as connection:
                states.wake_all(connection, source, self.known, now)
            self._set_back.accept()

    def _look(self, subjects: "Sequence[Subject]", away: str | None) -> str | None:
        """Look at some alerts; return why the source does not answer at all, and is not to be asked again."""
        now = self.clock()
        with self.engine.begin() as connection:  # those that began since the alerts before these were read
            silent = silences.current(connection, now)
        ranges = [needed_range(each, now) for each in subjects]
        wanted = [
            None if asked is None else Wanted(each.plan.query, *asked)
            for each, asked in zip(subjects, ranges, strict=True)
        ]
        answers, away = self._read(wanted, away)
        outcomes = [
            look(subject, answer, silent, now) for subject, answer in zip(subjects, answers, strict=True)
        ]
        with self.engine.begin() as connection:
            written = states.write(connection, outcomes)
        self._measure(subjects, outcomes, written)
        return away

    def _read(
        self, wanted: "Sequence[Wanted | None]", away: str | None
    ) -> "tuple[list[Answer | None], str | None]":
        asked = [each for each in wanted if each is not None]
        found: list[Answer] = []
        if self.source is None:
            away = "this service reads no such source: see ALERTS_METRIC_SOURCES"
        elif asked and away is None:
            try:
                found = self.source.read(asked)
            except SourceAwayError as error:
                away = str(error)
        answers = iter(found if away is None else [away] * len(asked))
        return [None if each is None else next(answers) for each in wanted], away

    def _learn(self, connection: "Connection", claimed: "Sequence[Claimed]") -> None:
        """Read definitions of which no version is remembered that is in force."""
        missing = {each.alert_key: each for each in claimed if _version(each) not in self._plans}
        if not missing:
            return
        if len(self._plans) + len(missing) > _REMEMBERED_PLANS:
            kept = {_version(each) for each in claimed}
            for version in [version for version in self._plans if version not in kept]:
                del self._plans[version]
        for key, (alert_id, definition) in alerts.definitions(connection, list(missing)).items():
            plan = definitions.plan(Violations(), definition, self.reporting_zone)
            self._plans[_version(missing[key])] = (alert_id, plan, dict(definition.metric.labels))

    def _measure(
        self, subjects: "Sequence[Subject]", outcomes: "Sequence[Outcome]", written: set[int]
    ) -> None:
        for subject, outcome in zip(subjects, outcomes, strict=True):
            if subject.claimed.alert_key not in written:
                self.measures.fenced.inc()
                continue
            for entry in outcome.entries:
                self.measures.looks.labels(entry.reason.name.lower()).inc()
                if entry.seen is not None:
                    closed = entry.seen.end + subject.plan.grid.grace_micros
                    self.measures.lag_seconds.observe(max(0, self.clock() - closed) / 1e6)


def _version(claimed: "Claimed") -> tuple[int, int]:
    return claimed.alert_key, claimed.version


def _chunks(subjects: "Sequence[Subject]") -> "list[list[Subject]]":
    """Return alerts in groups of which each is read by one call, those first that did not fail before."""
    steady = [each for each in subjects if not each.claimed.attempts]
    failed = [each for each in subjects if each.claimed.attempts]
    random.shuffle(failed)
    return [*_calls(steady, SERIES_A_CALL), *_calls(failed, SERIES_A_CALL_AFTER_FAILURE)]


def _calls(subjects: "Sequence[Subject]", maximum_series: int) -> "list[list[Subject]]":
    """Return groups of at most so many series and ALERTS_A_CALL alerts, equal series together.

    Series that are alike stand together, as a source may read such at once; groups that wait longest come
    first.
    """
    sharing: dict[bytes, list[Subject]] = {}
    for subject in subjects:
        sharing.setdefault(subject.plan.query, []).append(subject)
    groups: list[list[Subject]] = []
    series = maximum_series
    for _, alike in sorted(sharing.items()):  # a query begins with the metric's name, then its labels
        for first in range(0, len(alike), ALERTS_A_CALL):
            part = alike[first : first + ALERTS_A_CALL]
            if series == maximum_series or len(groups[-1]) + len(part) > ALERTS_A_CALL:
                groups.append([])
                series = 0
            groups[-1] += part
            series += 1
    return sorted(groups, key=_longest_due)


def _longest_due(group: "Sequence[Subject]") -> int:
    return min(each.claimed.due or 0 for each in group)
