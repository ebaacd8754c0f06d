"""Totals of sessions: how many, how long, of how many pages; by the quarter hour they begin in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.calendar import MICROS

if TYPE_CHECKING:
    from services.events.sessions.runs import Runs

# Every zone's clock has differed from UTC by whole quarters of an hour since 2000, so that each of their days
# and hours is made of these.
SLOT_MICROS = 15 * 60 * MICROS


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over sessions; what was taken away counts below zero."""

    sessions: int = 0
    duration_micros: int = 0
    pages: int = 0
    bounces: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.sessions + other.sessions,
            self.duration_micros + other.duration_micros,
            self.pages + other.pages,
            self.bounces + other.bounces,
        )


def by_slot(runs: "Runs") -> NDArray[np.int64]:
    """Return the quarter hour since 1970 that each session begins in."""
    slots: NDArray[np.int64] = runs.starts // SLOT_MICROS
    return slots


def sums(runs: "Runs", slots: NDArray[np.int64], sign: int = 1) -> dict[int, Totals]:
    """Return the totals of the sessions of each slot (or whatever each is counted under), times a sign."""
    if not len(runs):
        return {}
    order = np.argsort(slots, kind="stable")
    names, firsts = np.unique(slots[order], return_index=True)
    columns = [
        (sign * np.add.reduceat(column[order].astype(np.int64), firsts)).tolist()
        for column in (np.ones(len(runs)), runs.ends - runs.starts, runs.pages, runs.events == 1)
    ]
    return {name: Totals(*each) for name, *each in zip(names.tolist(), *columns, strict=True)}


def added(*parts: dict[int, Totals]) -> dict[int, Totals]:
    """Return the sums of several."""
    result: dict[int, Totals] = {}
    for part in parts:
        for name, totals in part.items():
            result[name] = result.get(name, Totals()) + totals
    return result
