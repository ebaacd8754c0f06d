"""`brain experiments`: people and their variants."""

import secrets
from collections.abc import Sequence

import click
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from brain_client import tables
from brain_client.cli_session import moment, pairs, typed
from brain_client.experiments_target import Service, anonymous, as_json_lines, person, user, word


@click.command()
@click.argument("key")
@user
@anonymous
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.pass_obj
def assign(service: Service, /, key: str, user: str, anonymous: str, attributes: Sequence[str]) -> None:
    """Print somebody's variant of KEY, assigning it the first time."""
    given = Struct()
    given.update({name: typed(text) for name, text in pairs(attributes, "--attribute").items()})
    request = pb.AssignVariantRequest(experiment_key=key, person=person(user, anonymous), attributes=given)
    with service.calls("ingest") as calls:
        found = calls.AssignVariant(request).assignment
    click.echo(found.variant if found.HasField("variant") else f"no variant: {_reason(found)}")


@click.command()
@click.argument("key")
@user
@anonymous
@as_json_lines
@click.pass_obj
def assignment(service: Service, /, key: str, user: str, anonymous: str, *, as_json: bool) -> None:
    """Show what is kept of somebody in KEY: variant, why, since when. Assigns nobody."""
    request = pb.GetAssignmentRequest(experiment_key=key, person=person(user, anonymous))
    with service.calls("admin") as calls:
        reply = calls.GetAssignment(request)
    found = reply.assignment
    row = {
        "variant": found.variant,
        "reason": _reason(found),
        "assigned_time": tables.instant(found.assigned_time) if found.HasField("assigned_time") else None,
        "exposed_time": tables.instant(reply.exposed_time) if reply.HasField("exposed_time") else None,
    }
    tables.show([row], as_json=as_json)


@click.command()
@click.argument("key")
@user
@anonymous
@click.option("--variant", default="", help="Give them this one.")
@click.option("--take-back", is_flag=True, help="Take the override back.")
@click.pass_obj
def override(
    service: Service, /, key: str, user: str, anonymous: str, variant: str, *, take_back: bool
) -> None:
    """Give somebody a variant of KEY whatever the hash says, which leaves them out of results."""
    if bool(variant) == take_back:
        raise click.UsageError("give exactly one of --variant and --take-back")
    request = pb.SetOverrideRequest(experiment_key=key, person=person(user, anonymous), variant=variant)
    with service.calls("admin") as calls:
        calls.SetOverride(request)
    click.echo("taken back" if take_back else f"gets {variant}")


@click.command()
@click.argument("key")
@user
@anonymous
@click.option("--variant", default="", help="What they saw; what they were assigned where absent.")
@click.option("--time", "seen", metavar="TIME", help="ISO 8601; now where absent.")
@click.pass_obj
def expose(service: Service, /, key: str, user: str, anonymous: str, variant: str, seen: str | None) -> None:
    """Note that somebody saw their variant of KEY."""
    exposure = pb.Exposure(experiment_key=key, person=person(user, anonymous), variant=variant)
    if seen is not None:
        exposure.exposure_time.FromDatetime(moment(seen))
    with service.calls("ingest") as calls:
        calls.TrackExposure(pb.TrackExposureRequest(exposure=exposure))
    click.echo("exposed")


@click.command()
@click.argument("key")
@user
@anonymous
@click.option("--metric", default="", help="The first metric where absent.")
@click.option("--value", type=float)
@click.option("--id", "conversion_id", help="Counts once; made up where absent.")
@click.pass_obj
def convert(service: Service, /, key: str, user: str, anonymous: str, **asked: str | float | None) -> None:
    """Note a conversion of somebody in KEY."""
    conversion = pb.Conversion(
        conversion_id=str(asked["conversion_id"] or secrets.token_hex(16)),
        experiment_key=key,
        person=person(user, anonymous),
        metric=str(asked["metric"]),
    )
    if isinstance(asked["value"], float):
        conversion.value = asked["value"]
    with service.calls("ingest") as calls:
        reply = calls.TrackConversion(pb.TrackConversionRequest(conversion=conversion))
    click.echo(f"{conversion.conversion_id} {'had been stored before' if reply.duplicate else 'stored'}")


def _reason(found: pb.Assignment) -> str:
    return word(pb.AssignmentReason.Name(found.reason), "ASSIGNMENT_REASON_")
