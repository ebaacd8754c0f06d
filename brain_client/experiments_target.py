"""What the commands of `brain experiments` share: where the service is, and whom they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub

from brain_client.cli_session import Target

as_json_lines = click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
user = click.option("--user", default="", help="User id.")
anonymous = click.option("--anonymous", default="", help="Anonymous id, in place of --user.")


@dataclass(frozen=True)
class Service:
    """Where the experiments service listens, and how to be let in."""

    address: str
    target: Target

    @contextmanager
    def calls(self, role: str) -> Iterator[ExperimentsServiceStub]:
        """Open a channel for as long as the context lasts."""
        with self.target.channel(self.address, role) as opened:
            yield ExperimentsServiceStub(opened)


def person(user_id: str, anonymous_id: str) -> pb.Person:
    """Return whom the options name."""
    if bool(user_id) == bool(anonymous_id):
        raise click.UsageError("give exactly one of --user and --anonymous")
    return pb.Person(user_id=user_id) if user_id else pb.Person(anonymous_id=anonymous_id)


def word(name: str, prefix: str) -> str:
    """Return a value of an enum as people read it."""
    return name.removeprefix(prefix).lower()
