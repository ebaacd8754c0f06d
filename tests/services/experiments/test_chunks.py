"""Which chunks of events are held."""

import numpy as np
import pytest

from services.experiments.domain import EventFeed
from services.experiments.results import chunks
from services.experiments.results.attribution import Events
from services.experiments.results.chunks import Chunk, Chunks

BOUGHT, SIGNED = EventFeed("bought", ()), EventFeed("signed", ())


def chunk(revision: int, rows: int = 1) -> Chunk:
    return Chunk(
        revision, Events(np.zeros(rows, np.int32), np.zeros(rows, np.int64), np.zeros(rows, np.int64))
    )


def test_an_experiment_that_began_later_leaves_the_earlier_days() -> None:
    held = Chunks()
    first = {day: chunk(day) for day in (1, 2, 3)}
    held.keep(BOUGHT, first, 1)
    later = {3: chunk(33), 4: chunk(4)}
    held.keep(BOUGHT, later, 2)  # on day 2 there is nothing any more
    assert held.held(BOUGHT) == {1: first[1]} | later


def test_too_many_leave_only_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_CACHED_EVENTS", 10)
    held = Chunks()
    held.keep(SIGNED, {1: chunk(1, 6)}, 1)
    held.keep(BOUGHT, {1: chunk(1, 4)}, 1)
    assert (len(held.held(SIGNED)), len(held.held(BOUGHT))) == (1, 1)
    held.keep(BOUGHT, {2: chunk(2, 5)}, 2)
    assert (held.held(SIGNED), list(held.held(BOUGHT))) == ({}, [2])
    held.keep(BOUGHT, {2: chunk(2, 11)}, 2)
    assert not held.held(BOUGHT)
