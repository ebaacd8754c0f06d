"""What became of a funnel: steps as bars, who is lost where, groups, and segments that lose more."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.dashboard.page import durations, formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brain.funnels.v1 import funnels_pb2, results_pb2

    from gateway.dashboard.page.csv_files import Cell

CSV_HEADER: Final = (
    "people",
    "group",
    "step",
    "name",
    "event",
    "users",
    "conversions",
    "dropoff",
    "conversion_ratio",
    "step_ratio",
    "mean_seconds",
    "median_seconds",
    "absent_reason",
)
_REASONS: Final = {
    "NO_STARTERS": "nobody began on these days",
    "NO_FINISHERS": "nobody finished",
    "NO_USERS": "nobody did this step",
}
_SEGMENTS: Final = 5


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is read, exactly, and as tables sort it; a reason where there is none."""

    text: str
    exact: str = ""
    value: float = -1


@dataclass(frozen=True, slots=True)
class Bar:
    """A step. Lengths are in percent of the first step's; the hatched part are those lost before it."""

    order: int
    name: str
    event: str
    optional: bool
    users: Number
    from_start: Number
    from_before: Number
    lost: Number
    time: Number
    length: float
    lost_length: float
    # What makes it a bottleneck; empty where it is none.
    bottleneck: str
    # Whether somebody can be listed who was lost before it, or reached it.
    has_lost: bool
    has_users: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The people with one value of the property."""

    name: str
    steps: tuple[Number, ...]
    conversion: Number
    time: Number


@dataclass(frozen=True, slots=True)
class Segment:
    """A value of a property with which more are lost than without."""

    text: str
    ratio: Number
    other_ratio: Number
    people: str
    p_value: str
    p_detail: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything the view shows of a funnel's results."""

    summary: str
    notes: tuple[str, ...]
    bars: tuple[Bar, ...]
    groups: tuple[Group, ...]
    group_note: str
    step_names: tuple[str, ...]


def shown(
    results: "results_pb2.FunnelResults", by: str, before: "results_pb2.FunnelConversion | None" = None
) -> Shown:
    """Return what is shown of results, broken down by a property, beside the days before."""
    first = results.steps[0].users if results.steps else 0
    flags = _flags(results)
    groups = [_group(each, _value(each, by)) for each in results.groups]
    if results.HasField("rest"):
        groups.append(_group(results.rest, "(all others)"))
    hidden = results.group_count - len(results.groups)
    return Shown(
        summary=_summary(results.conversion, before),
        notes=tuple(_notes(results)),
        bars=tuple(_bar(each, first, flags.get(each.order, "")) for each in results.steps),
        groups=tuple(groups),
        group_note=f"{hidden:,} more values are taken together." if hidden > 0 else "",
        step_names=tuple(_name(each) for each in results.steps),
    )


def segments(answer: "funnels_pb2.GetDropoffAnalysisResponse") -> tuple[Segment, ...]:
    """Return the segments that lose most beyond everybody else, the surest first."""
    names = {each.step: each.name or f"step {each.step + 1}" for each in answer.dropoffs}
    return tuple(_segment(each, names.get(each.step, "")) for each in answer.segments[:_SEGMENTS])


def exported(results: "results_pb2.FunnelResults") -> "Iterable[Sequence[Cell]]":
    """Yield a row for each step: of everybody, of each group, of everybody left over."""
    yield from (_row("everybody", "", each) for each in results.steps)
    for group in results.groups:
        kind = "group" if group.HasField("group") else "without"
        yield from (_row(kind, _plain(group.group) if group.group else "", each) for each in group.steps)
    if results.HasField("rest"):
        yield from (_row("rest", "", each) for each in results.rest.steps)


def told(reason: str) -> str:
    """Return a reason for an absent number in words."""
    return _REASONS.get(reason, reason)


def _summary(found: "results_pb2.FunnelConversion", before: "results_pb2.FunnelConversion | None") -> str:
    if not found.HasField("conversion_ratio"):
        return "Nobody began on these days."
    ratio, count = formats.percent(found.conversion_ratio), formats.whole(found.finishers)
    parts = [f"{ratio} finished: {count} of {formats.whole(found.starters)}"]
    if found.HasField("median_seconds"):
        parts.append(f"half of them within {durations.spelled(found.median_seconds)}")
    earlier = "" if before is None else f"; {_earlier(found, before)}"
    return f"{', '.join(parts)}{earlier}."


def _earlier(found: "results_pb2.FunnelConversion", before: "results_pb2.FunnelConversion") -> str:
    if not before.HasField("conversion_ratio"):
        return "nobody began in as many days before"
    points = (found.conversion_ratio - before.conversion_ratio) * 100
    sign = "+" if points > 0 else formats.MINUS if points < 0 else "±"
    change = f"{sign}{formats.significant(abs(points))} points"
    return f"{change} against {formats.percent(before.conversion_ratio)} in as many days before"


def _notes(results: "results_pb2.FunnelResults") -> "Iterable[str]":
    conversion = results.conversion
    if conversion.open_entries:
        yield f"{formats.whole(conversion.open_entries)} people may still finish: their time is not over."
    elif not results.choices.complete:
        yield "The time of those who begin last is not over, so numbers may still rise."


def _flags(results: "results_pb2.FunnelResults") -> dict[int, str]:
    flags: dict[int, list[str]] = {}
    if results.HasField("largest_ratio_step"):
        flags.setdefault(results.largest_ratio_step, []).append("largest share lost")
    if results.HasField("largest_count_step"):
        flags.setdefault(results.largest_count_step, []).append("most people lost")
    return {step: ", ".join(reasons) for step, reasons in flags.items()}


def _name(step: "results_pb2.StepResult") -> str:
    return step.name or f"{step.order + 1} of the steps"


def _bar(step: "results_pb2.StepResult", first: int, bottleneck: str) -> Bar:
    has_dropoff = step.HasField("dropoff")
    return Bar(
        order=step.order,
        name=_name(step),
        event=step.event if step.event != step.name else "",
        optional=step.optional,
        users=_count(step.users),
        from_start=_ratio(step, "conversion_ratio"),
        from_before=_ratio(step, "step_ratio") if has_dropoff else Number(""),
        lost=_count(step.dropoff) if has_dropoff else Number(""),
        time=_time(step) if step.order else Number(""),
        length=_percent(step.users, first),
        lost_length=_percent(step.dropoff, first) if has_dropoff else 0,
        bottleneck=bottleneck,
        has_lost=step.dropoff > 0,
        has_users=step.users > 0,
    )


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 3) if whole else 0


def _count(number: int) -> Number:
    return Number(formats.short(number), formats.whole(number), number)


def _ratio(
    source: "results_pb2.StepResult | results_pb2.FunnelConversion", field: str, detail: str = ""
) -> Number:
    if not source.HasField(field):  # type: ignore[arg-type]  # both have it
        return Number(formats.NOTHING, told(source.absent_reason))
    value: float = getattr(source, field)
    return Number(formats.percent(value), detail or f"{value:.6f}", value)


def _time(source: "results_pb2.StepResult | results_pb2.FunnelConversion") -> Number:
    if not source.HasField("median_seconds"):
        return Number(formats.NOTHING, told(source.absent_reason))
    mean = f"median {durations.exact(source.median_seconds)}, mean {durations.exact(source.mean_seconds)}"
    return Number(durations.spelled(source.median_seconds), mean, source.median_seconds)


def _group(group: "results_pb2.FunnelGroup", name: str) -> Group:
    counts = f"{formats.whole(group.conversion.finishers)} of {formats.whole(group.conversion.starters)}"
    return Group(
        name=name,
        steps=tuple(_step(each) for each in group.steps),
        conversion=_ratio(group.conversion, "conversion_ratio", counts),
        time=_time(group.conversion),
    )


def _step(step: "results_pb2.StepResult") -> Number:
    share = formats.percent(step.conversion_ratio) if step.HasField("conversion_ratio") else ""
    text = formats.short(step.users)
    return Number(text, f"{share} of those who began" if share else told(step.absent_reason), step.users)


def _value(group: "results_pb2.FunnelGroup", by: str) -> str:
    return _plain(group.group) if group.HasField("group") else f"(without {by})"


def _plain(text: str) -> str:
    value = json.loads(text)
    return value if isinstance(value, str) else text


def _segment(segment: "results_pb2.DropoffSegment", step: str) -> Segment:
    named = f"= {_plain(segment.value)}" if segment.HasField("value") else "is not there"
    lost, users = formats.whole(segment.lost), formats.whole(segment.users)
    others = f"{formats.whole(segment.other_lost)} of {formats.whole(segment.other_users)}"
    return Segment(
        text=f"Before {step} where {segment.property} {named}",
        ratio=Number(formats.percent(segment.loss_ratio), f"{lost} of {users}", segment.loss_ratio),
        other_ratio=Number(formats.percent(segment.other_loss_ratio), others, segment.other_loss_ratio),
        people=users,
        p_value=formats.probability(segment.adjusted_p_value),
        p_detail=f"{segment.p_value:.3g} before Holm's adjustment",
    )


def _row(people: str, group: str, step: "results_pb2.StepResult") -> "Sequence[Cell]":
    known: dict[str, float] = {
        name: getattr(step, name)
        for name in ("dropoff", "conversion_ratio", "step_ratio", "mean_seconds", "median_seconds")
        if step.HasField(name)
    }
    return (
        people,
        group,
        step.order,
        step.name,
        step.event,
        step.users,
        step.conversions,
        known.get("dropoff"),
        known.get("conversion_ratio"),
        known.get("step_ratio"),
        known.get("mean_seconds"),
        known.get("median_seconds"),
        step.absent_reason,
    )
