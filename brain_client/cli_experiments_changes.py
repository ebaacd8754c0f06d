"""`brain experiments update`: what may change while an experiment runs."""

import json
from collections.abc import Sequence
from typing import TextIO

import click
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.json_format import ParseDict, ParseError

from brain_client.cli_session import pairs
from brain_client.experiments_target import Service


@click.command()
@click.argument("key")
@click.option("--share", "shares", multiple=True, metavar="VARIANT=PERCENT", help="Each variant once.")
@click.option("--coverage", type=float, metavar="PERCENT", help="Of the targeted people, how many take part.")
@click.option("--metrics", type=click.File(), help='All there shall be, a JSON list; "-": standard input.')
@click.pass_obj
def update(
    service: Service, /, key: str, shares: Sequence[str], coverage: float | None, metrics: TextIO | None
) -> None:
    """Change shares, coverage or metrics of KEY; nobody who is assigned moves."""
    if not shares and coverage is None and metrics is None:
        raise click.UsageError("give --share, --coverage or --metrics")
    request = pb.UpdateExperimentRequest(experiment_key=key, coverage_percent=coverage)
    for variant, percent in pairs(shares, "--share").items():
        request.allocation.add(variant=variant, allocation_percent=_percent(percent))
    if metrics is not None:
        _read_metrics(metrics, request)
    with service.calls("admin") as calls:
        definition = calls.UpdateExperiment(request).experiment.definition
    split = ", ".join(f"{each.name} {each.allocation_percent:g}%" for each in definition.variants)
    covered = definition.coverage_percent if definition.HasField("coverage_percent") else 100
    click.echo(f"{key}: {split}; {covered:g}% take part")


def _percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"--share takes VARIANT=PERCENT, not {text!r} percent") from None


def _read_metrics(file: TextIO, request: pb.UpdateExperimentRequest) -> None:
    try:
        ParseDict({"metrics": json.load(file)}, request)
    except (ValueError, ParseError) as error:
        raise click.UsageError(f"{file.name} is no list of metrics: {error}") from error
