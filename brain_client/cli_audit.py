"""`brain audit`: who changed what."""

import json
from collections.abc import Iterator
from itertools import islice

import click
import grpc
from brain.audit.v1.audit_pb2 import AuditEntry, ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from google.protobuf.json_format import MessageToDict

from brain_client.cli_services import ask_each, services_option
from brain_client.cli_session import Target

_PAGE = 1_000


@click.command()
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="NUMBER",
    help="So many entries of each service.",
)
@services_option
@click.pass_obj
def audit(target: Target, /, limit: int, services: tuple[str, ...]) -> None:
    """Print who changed what, a JSON object a line: of each service the newest first."""

    def ask(address: str, channel: grpc.Channel) -> None:
        for entry in islice(_entries(AuditServiceStub(channel), limit), limit):
            told = MessageToDict(
                entry, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            click.echo(json.dumps({"service": address} | told | {"entry_id": entry.entry_id}))

    ask_each(target, services, ask)


def _entries(stub: AuditServiceStub, limit: int) -> Iterator[AuditEntry]:
    request = ListAuditEntriesRequest(page_size=min(limit, _PAGE))
    while True:
        page = stub.ListAuditEntries(request)
        yield from page.entries
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
