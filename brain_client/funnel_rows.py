"""Answers about funnels as rows."""

from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from brain_client import tables


def funnel_row(funnel: pb.Funnel) -> tables.Row:
    """Return a funnel."""
    return {
        "funnel": funnel.funnel_id,
        "name": funnel.name,
        "steps": " → ".join(step.name for step in funnel.steps),
        "window_minutes": funnel.time_window_minutes,
        "order": pb.OrderMode.Name(funnel.order_mode).removeprefix("ORDER_MODE_").lower(),
        "active": funnel.active,
    }


def step_rows(results: results_pb2.FunnelResults) -> list[tables.Row]:
    """Return the steps of everybody, then those of each group."""
    if not results.groups:
        return [_step_row(step) for step in results.steps]
    rows: list[tables.Row] = [{"group": "(everybody)", **_step_row(step)} for step in results.steps]
    for group in results.groups:
        value = group.group if group.HasField("group") else None
        rows += [{"group": value, **_step_row(step)} for step in group.steps]
    if results.HasField("rest"):
        rows += [{"group": "(all others)", **_step_row(step)} for step in results.rest.steps]
    return rows


def _step_row(step: results_pb2.StepResult) -> dict[str, object]:
    return {
        "step": step.order,
        "name": step.name,
        "users": step.users,
        "dropoff": step.dropoff if step.HasField("dropoff") else None,
        "conversion_ratio": step.conversion_ratio if step.HasField("conversion_ratio") else None,
        "step_ratio": step.step_ratio if step.HasField("step_ratio") else None,
        "median_seconds": step.median_seconds if step.HasField("median_seconds") else None,
        "mean_seconds": step.mean_seconds if step.HasField("mean_seconds") else None,
    }


def point_row(point: results_pb2.ConversionPoint, time_zone: str) -> tables.Row:
    """Return an interval (local) and its conversion."""
    found = point.conversion
    return {
        "start": tables.instant(point.start_time, time_zone),
        "starters": found.starters,
        "finishers": found.finishers,
        "conversion_ratio": found.conversion_ratio if found.HasField("conversion_ratio") else None,
        "median_seconds": found.median_seconds if found.HasField("median_seconds") else None,
        "complete": point.complete,
    }


def dropoff_row(dropoff: results_pb2.StepDropoff, reply: pb.GetDropoffAnalysisResponse) -> tables.Row:
    """Return a step, how many are lost before it, and whether it is a bottleneck."""
    bottlenecks = []
    if reply.HasField("largest_ratio_step") and reply.largest_ratio_step == dropoff.step:
        bottlenecks.append("largest share")
    if reply.HasField("largest_count_step") and reply.largest_count_step == dropoff.step:
        bottlenecks.append("most people")
    return {
        "step": dropoff.step,
        "name": dropoff.name,
        "users_before": dropoff.users_before,
        "lost": dropoff.lost,
        "loss_ratio": dropoff.loss_ratio if dropoff.HasField("loss_ratio") else None,
        "bottleneck": ", ".join(bottlenecks) or None,
    }


def segment_row(segment: results_pb2.DropoffSegment) -> tables.Row:
    """Return a segment beside everybody else."""
    return {
        "step": segment.step,
        "property": segment.property,
        "value": segment.value if segment.HasField("value") else None,
        "users": segment.users,
        "loss_ratio": segment.loss_ratio,
        "other_loss_ratio": segment.other_loss_ratio,
        "adjusted_p_value": segment.adjusted_p_value,
    }


def user_row(found: results_pb2.StepUser) -> tables.Row:
    """Return somebody and how far they came."""
    return {
        "user": found.user.id,
        "entry": tables.instant(found.entry_time),
        "last_step": found.last_step,
        "last_step_time": tables.instant(found.last_step_time),
    }


def attempt_row(attempt: results_pb2.JourneyAttempt) -> tables.Row:
    """Return an attempt, how far it came and whether it counts."""
    return {
        "entry": tables.instant(attempt.entry_time),
        "steps": ", ".join(
            f"{step.order} {tables.instant(step.step_time):%Y-%m-%d %H:%M:%S}" for step in attempt.steps
        ),
        "fate": results_pb2.AttemptFate.Name(attempt.fate).removeprefix("ATTEMPT_FATE_").lower(),
        "open": attempt.open,
    }
