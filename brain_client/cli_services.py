"""Which services a command asks that is about all of them, one after the other."""

from collections.abc import Callable, Iterable

import click
import grpc

from brain_client.cli_session import Target
from brain_client.errors import explain

# Where `make up` lets the services listen.
_LOCAL_SUITE = tuple(f"127.0.0.1:{port}" for port in range(50051, 50056))

services_option = click.option(
    "--service",
    "services",
    multiple=True,
    metavar="ADDRESS",
    envvar="BRAIN_SERVICES",
    show_envvar=True,
    help="A service to ask; may be repeated (in the variable: separated by spaces). Without any: all of the "
    "local run, and where --address is elsewhere that one alone.",
)


def addresses(target: Target, services: Iterable[str]) -> tuple[str, ...]:
    """Return whom to ask: those that are named, else those beside the target."""
    return tuple(services) or services_beside(target.address)


def services_beside(address: str) -> tuple[str, ...]:
    """Return whom to ask where nobody is named: of the local run, whatever its replicas, every service."""
    first_replica = address.partition(",")[0]
    return _LOCAL_SUITE if first_replica == _LOCAL_SUITE[0] else (address,)


def ask_each(target: Target, services: Iterable[str], ask: Callable[[str, grpc.Channel], object]) -> None:
    """Ask every service as an admin, also after one has failed; then fail with what each of those said."""
    failures = []
    for address in addresses(target, services):
        try:
            with target.channel(address, "admin") as channel:
                ask(address, channel)
        except grpc.RpcError as error:
            failures.append(f"{address}: {explain(error)}")
    if failures:
        raise click.ClickException("\n".join(failures))
