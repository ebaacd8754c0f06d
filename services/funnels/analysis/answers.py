"""Numbers of funnels as messages."""

from typing import TYPE_CHECKING

import numpy as np
from brain.funnels.v1 import results_pb2 as pb

from services.funnels.analysis.questions import ENTRIES, POPULATIONS, TOUCHES, BreakDown
from services.funnels.attribution import Touch
from services.funnels.counting import (
    StepCount,
    bottlenecks,
    completion,
    histogram,
    seconds_between,
    step_counts,
)
from services.funnels.rules import OrderMode
from shared.calendar import MICROS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from services.funnels.analysis.analyst import Analysis, Reading
    from services.funnels.domain import Funnel

_ENTRY_NUMBERS = {entry: number for number, entry in ENTRIES.items()}
_POPULATION_NUMBERS = {population: number for number, population in POPULATIONS.items()}
_TOUCH_NUMBERS = {touch: number for number, touch in TOUCHES.items()}


def results(analysis: "Analysis", break_down: BreakDown | None, *, with_histograms: bool) -> pb.FunnelResults:
    """Return the whole answer."""
    times = analysis.times
    is_open = analysis.open_people()
    counts = step_counts(times, analysis.funnel)
    largest_ratio, largest_count = bottlenecks(counts)
    answer = pb.FunnelResults(
        steps=step_messages(times, analysis.funnel, counts, with_histograms=with_histograms),
        conversion=conversion(times, is_open),
        largest_ratio_step=largest_ratio,
        largest_count_step=largest_count,
        choices=choices(analysis, break_down),
    )
    if with_histograms:
        answer.histogram.extend(_bins(seconds_between(times, 0, times.shape[1] - 1)))
    if break_down:
        _add_groups(answer, analysis, break_down, is_open)
    return answer


def step_messages(
    times: "NDArray[np.int64]",
    funnel: "Funnel",
    counts: "Sequence[StepCount]",
    *,
    with_histograms: bool = False,
) -> list[pb.StepResult]:
    """Return what became of each step, with the histograms of these times."""
    messages = []
    for step, count in enumerate(counts):
        message = _step_message(funnel, step, count, len(times))
        before = funnel.required_before(step)
        if with_histograms and before is not None:
            message.histogram.extend(_bins(seconds_between(times, before, step)))
        messages.append(message)
    return messages


def _step_message(funnel: "Funnel", step: int, count: StepCount, starters: int) -> pb.StepResult:
    name, event = step_names(funnel, step)
    reason = "" if count.users else "NO_USERS" if starters else "NO_STARTERS"
    return pb.StepResult(
        order=step,
        name=name,
        event=event,
        optional=funnel.steps[step].is_optional,
        users=count.users,
        conversions=count.conversions,
        dropoff=count.dropoff,
        conversion_ratio=count.conversion_ratio,
        step_ratio=count.step_ratio,
        mean_seconds=count.mean_seconds,
        median_seconds=count.median_seconds,
        absent_reason=reason,
    )


def step_names(funnel: "Funnel", step: int) -> tuple[str, str]:
    """Return name and event of a step; a place among unordered steps has neither."""
    if funnel.mode is OrderMode.UNORDERED:
        return "", ""
    return funnel.steps[step].name, funnel.steps[step].pattern.event


def _bins(seconds: "NDArray[np.float64]") -> list[pb.DurationBin]:
    return [
        pb.DurationBin(lower_seconds=lower, upper_seconds=upper, users=users)
        for lower, upper, users in histogram(seconds)
    ]


def conversion(times: "NDArray[np.int64]", is_open: "NDArray[np.bool_]") -> pb.FunnelConversion:
    """Return how many began and how many finished; `is_open` tells who may yet."""
    found = completion(times)
    reason = "" if found.finishers else "NO_FINISHERS" if found.starters else "NO_STARTERS"
    return pb.FunnelConversion(
        starters=found.starters,
        finishers=found.finishers,
        conversion_ratio=found.ratio,
        median_seconds=found.median_seconds,
        mean_seconds=found.mean_seconds,
        absent_reason=reason,
        open_entries=int(is_open.sum()),
    )


def choices(asked: "Analysis | Reading", break_down: BreakDown | None = None) -> pb.FunnelChoices:
    """Return the choices behind the numbers."""
    funnel, scope = asked.funnel, asked.scope
    by_step = break_down is not None and break_down.touch is Touch.STEP
    return pb.FunnelChoices(
        time_window_minutes=funnel.window // (60 * MICROS),
        order_mode=funnel.mode.value,
        entry=_ENTRY_NUMBERS[scope.entry],
        population=_POPULATION_NUMBERS[scope.population],
        attribution=_TOUCH_NUMBERS[break_down.touch] if break_down else pb.ATTRIBUTION_UNSPECIFIED,
        attribution_step=break_down.step if break_down and by_step else None,
        exclusion_events=sorted({each.pattern.event for each in funnel.exclusions}),
        optional_steps=sorted(funnel.rules(scope.entry).optional),
        complete=scope.entries[1] + funnel.window <= asked.now,
    )


def _add_groups(
    answer: pb.FunnelResults, analysis: "Analysis", break_down: BreakDown, is_open: "NDArray[np.bool_]"
) -> None:
    codes = analysis.values.of(break_down.touch, break_down.step)
    texts = analysis.found.texts
    users = np.bincount(codes, minlength=len(texts) + 1).tolist()
    # Codes are in the order of their texts, absence behind them all.
    present = sorted((-count, code) for code, count in enumerate(users) if count)
    answer.group_count = len(present)
    for _, code in present[: break_down.limit]:
        inside = codes == code
        group = _group(analysis, inside, is_open)
        if code < len(texts):
            group.group = texts[code]
        answer.groups.append(group)
    rest = [code for _, code in present[break_down.limit :]]
    if rest:
        answer.rest.CopyFrom(_group(analysis, np.isin(codes, rest), is_open))


def _group(analysis: "Analysis", inside: "NDArray[np.bool_]", is_open: "NDArray[np.bool_]") -> pb.FunnelGroup:
    times = analysis.times[inside]
    return pb.FunnelGroup(
        steps=step_messages(times, analysis.funnel, step_counts(times, analysis.funnel)),
        conversion=conversion(times, is_open[inside]),
    )
