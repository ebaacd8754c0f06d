import json
from typing import TextIO

import click
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseError

from brain_client import tables
from brain_client.cli_experiments_changes import update
from brain_client.cli_experiments_decisions import decisions, declare
from brain_client.cli_experiments_people import assign, assignment, convert, expose, override
from brain_client.experiments_target import Service, as_json_lines, word

_PAGE = 1_000


@click.group()
@click.option(
    "--experiments-address",
    envvar="BRAIN_EXPERIMENTS_ADDRESS",
    default="127.0.0.1:50052",
    show_default=True,
    show_envvar=True,
    help="Where the experiments service listens.",
)
@click.pass_context
def experiments(context: click.Context, experiments_address: str) -> None:
    """Run experiments: make, start, assign, convert, read results, declare winners."""
    context.obj = Service(experiments_address, context.obj)


for _command in (assign, assignment, convert, decisions, declare, expose, override, update):
    experiments.add_command(_command)


@experiments.command("list")
@as_json_lines
@click.pass_obj
def list_command(service: Service, /, *, as_json: bool) -> None:
    """List experiments."""
    rows: list[tables.Row] = []
    request = pb.ListExperimentsRequest(page_size=_PAGE)
    with service.calls("admin") as calls:
        while True:
            reply = calls.ListExperiments(request)
            rows += map(_row, reply.experiments)
            request.page_token = reply.next_page_token
            if not request.page_token:
                break
    tables.show(rows, as_json=as_json)


@experiments.command()
@click.argument("key")
@click.argument("definition", type=click.File())
@click.pass_obj
def create(service: Service, /, key: str, definition: TextIO) -> None:
    """Make a draft KEY from a file with an ExperimentDefinition as JSON ("-" reads standard input)."""
    try:
        made = Parse(definition.read(), pb.ExperimentDefinition())
    except ParseError as error:
        raise click.UsageError(f"{definition.name} is no ExperimentDefinition: {error}") from error
    with service.calls("admin") as calls:
        reply = calls.CreateExperiment(pb.CreateExperimentRequest(key=key, definition=made))
    _tell(reply.experiment)


@experiments.command()
@click.argument("key")
@click.pass_obj
def start(service: Service, /, key: str) -> None:
    """Start a draft, or a paused experiment again."""
    with service.calls("admin") as calls:
        _tell(calls.StartExperiment(pb.StartExperimentRequest(experiment_key=key)).experiment)


@experiments.command()
@click.argument("key")
@click.pass_obj
def pause(service: Service, /, key: str) -> None:
    """Pause: nobody gets a variant until it is started again."""
    with service.calls("admin") as calls:
        _tell(calls.PauseExperiment(pb.PauseExperimentRequest(experiment_key=key)).experiment)


@experiments.command()
@click.argument("key")
@click.pass_obj
def complete(service: Service, /, key: str) -> None:
    """End for good, without a winner."""
    with service.calls("admin") as calls:
        _tell(calls.CompleteExperiment(pb.CompleteExperimentRequest(experiment_key=key)).experiment)


@experiments.command()
@click.argument("key")
@click.option("--by", default="", metavar="ATTRIBUTE", help="By an attribute that the experiment keeps, too.")
@click.option("--json", "as_json", is_flag=True, help="The whole answer as one JSON object.")
@click.pass_obj
def results(service: Service, /, key: str, by: str, *, as_json: bool) -> None:
    """Show what came of each variant of KEY, and what to do."""
    with service.calls("admin") as calls:
        answer = calls.GetResults(pb.GetResultsRequest(experiment_key=key, break_down_attribute=by))
    found = answer.results
    if as_json:
        told = answer if by else found
        click.echo(MessageToJson(told, preserving_proto_field_name=True, indent=None))
        return
    tables.show(_result_rows(found), as_json=False)
    click.echo(found.recommendation)
    for segment in answer.segments:
        click.echo(f"\n{by}: {segment.value if segment.HasField('value') else '(none)'}")
        tables.show(_result_rows(segment.results), as_json=False)


@experiments.command("over-time")
@click.argument("key")
@click.option("--metric", default="", help="The primary one where absent.")
@click.option("--time-zone", default="", help="IANA name; the deployment's where absent.")
@as_json_lines
@click.pass_obj
def over_time(service: Service, /, key: str, metric: str, time_zone: str, *, as_json: bool) -> None:
    """Show a metric of KEY as it stood at the end of each day, by variant."""
    request = pb.GetResultsOverTimeRequest(experiment_key=key, metric=metric, time_zone=time_zone)
    with service.calls("admin") as calls:
        reply = calls.GetResultsOverTime(request)
    rows = [
        {
            "end_time": tables.instant(point.end_time, reply.time_zone),
            "complete": point.complete,
            "variant": each.variant,
            "participants": each.participants,
            "value": each.value if each.HasField("value") else None,
        }
        for point in reply.points
        for each in point.variants
    ]
    tables.show(rows, as_json=as_json)


def _status(experiment: pb.Experiment) -> str:
    return word(pb.ExperimentStatus.Name(experiment.status), "EXPERIMENT_STATUS_")


def _tell(experiment: pb.Experiment) -> None:
    click.echo(f"{experiment.key} is {_status(experiment)}")


def _row(experiment: pb.Experiment) -> tables.Row:
    variants = experiment.definition.variants
    return {
        "key": experiment.key,
        "name": experiment.definition.name,
        "status": _status(experiment),
        "variants": ", ".join(f"{each.name} {each.allocation_percent:g}%" for each in variants),
        "winner": experiment.winner or None,
    }


def _result_rows(found: pb.Results) -> list[tables.Row]:
    return [_result_row(each.metric.name, variant) for each in found.metrics for variant in each.variants]


def _result_row(metric: str, result: pb.VariantResult) -> tables.Row:
    comparison = result.comparison
    found = MessageToDict(comparison, preserving_proto_field_name=True)
    interval = found.get("interval") or found.get("sequential", {}).get("interval")
    return {
        "metric": metric,
        "variant": result.variant,
        "participants": result.participants,
        "converted": result.converted,
        "value": result.value if result.HasField("value") else None,
        "effect": found.get("absolute_effect"),
        "interval": interval and json.dumps([interval.get("lower", 0.0), interval.get("upper", 0.0)]),
        "adjusted_p_value": result.adjusted_p_value if result.HasField("adjusted_p_value") else None,
        "chance_to_win": found.get("chance_to_win_ratio"),
    }
