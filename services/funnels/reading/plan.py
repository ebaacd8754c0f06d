"""Which events of the events service to read for a funnel, and what each row of them fills."""

from collections import defaultdict
from dataclasses import dataclass

from services.funnels.domain import Funnel
from services.funnels.rules import OrderMode


@dataclass(frozen=True, slots=True)
class Columns:
    """Events by name, of which filters may be met; with match sets to tell, and a property ("" for none)."""

    event: str
    filters: tuple[bytes, ...] = ()
    match_sets: tuple[tuple[bytes, ...], ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Columns, and the steps and exclusions (as bits) that rows fill: all of them, or those of each set."""

    columns: Columns
    steps: tuple[int, ...]
    bans: tuple[int, ...]


def plan(funnel: Funnel, path: str = "", further: tuple[bytes, ...] = ()) -> list[Reading]:
    """Return what to read, each event once.

    Args:
        funnel: whose steps and exclusions there are.
        path: a property to read besides, "" for none.
        further: filters that all events of steps must meet besides their own.

    """
    masks: defaultdict[str, defaultdict[tuple[bytes, ...], list[int]]]
    masks = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for number, step in enumerate(funnel.steps):
        masks[step.pattern.event][step.pattern.filters + further][0] |= 1 << number
    for number, exclusion in enumerate(funnel.exclusions):
        masks[exclusion.pattern.event][exclusion.pattern.filters][1] |= 1 << number
    return [_reading(event, dict(sets), path, funnel.mode) for event, sets in masks.items()]


def _reading(event: str, sets: dict[tuple[bytes, ...], list[int]], path: str, mode: OrderMode) -> Reading:
    steps, bans = zip(*sets.values(), strict=True)
    [first, *others] = sets
    # In a strict funnel an event that meets no filter stands between others all the same.
    if not others and not (first and mode is OrderMode.STRICT):
        return Reading(Columns(event, filters=first, path=path), steps, bans)
    return Reading(Columns(event, match_sets=tuple(sets), path=path), steps, bans)
