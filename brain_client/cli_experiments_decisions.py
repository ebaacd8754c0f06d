"""`brain experiments`: declaring winners, and what was declared."""

import secrets

import click
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.json_format import MessageToJson

from brain_client import tables
from brain_client.experiments_target import Service

_PAGE = 100


@click.command()
@click.argument("key")
@click.argument("variant")
@click.option("--metric", default="", help="The primary one where absent.")
@click.option("--override-reason", default="", help="Why it is right all the same, where it is refused.")
@click.option("--id", "decision_id", help="Made up where absent.")
@click.pass_obj
def declare(service: Service, /, key: str, variant: str, **asked: str | None) -> None:
    """Declare VARIANT the winner of KEY: the experiment ends and everybody gets it."""
    request = pb.DeclareWinnerRequest(
        decision_id=asked["decision_id"] or secrets.token_hex(16),
        experiment_key=key,
        variant=variant,
        metric=asked["metric"] or "",
        override_reason=asked["override_reason"] or "",
    )
    with service.calls("admin") as calls:
        decision = calls.DeclareWinner(request).decision
    click.echo(f"{decision.experiment_key}: {decision.variant} is the winner by {decision.metric}")


@click.command()
@click.argument("key", default="")
@click.option("--json", "as_json", is_flag=True, help="Each with the results it rested on, as a JSON object.")
@click.pass_obj
def decisions(service: Service, /, key: str, *, as_json: bool) -> None:
    """List what was decided, newest first; of KEY, or of all experiments."""
    found: list[pb.Decision] = []
    request = pb.ListDecisionsRequest(experiment_key=key, page_size=_PAGE)
    with service.calls("admin") as calls:
        while True:
            reply = calls.ListDecisions(request)
            found += reply.decisions
            request.page_token = reply.next_page_token
            if not request.page_token:
                break
    if as_json:
        for decision in found:
            click.echo(MessageToJson(decision, preserving_proto_field_name=True, indent=None))
    else:
        tables.show([_row(each) for each in found], as_json=False)


def _row(decision: pb.Decision) -> tables.Row:
    return {
        "decided_time": tables.instant(decision.decided_time),
        "experiment": decision.experiment_key,
        "winner": decision.variant,
        "metric": decision.metric,
        "decided_by": decision.decided_by,
        "objections": "; ".join(decision.objections) or None,
        "override_reason": decision.override_reason or None,
    }
