"""The commands about people's data. Each asks every service, as each holds its own part.

One service may know that several ids are one person: the others are then asked about each of these ids.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO

import click
from brain.events.v1.events_pb2 import UserKind, UserReference
from brain.privacy.v1.privacy_pb2 import (
    ApplyTombstonesRequest,
    EraseUserRequest,
    ErasureMode,
    ExportUserRequest,
    ListTombstonesRequest,
    Tombstone,
)
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from brain_client.cli_services import addresses, ask_each, services_beside, services_option
from brain_client.cli_session import Target

_KINDS = {"user": "USER_KIND_USER", "anonymous": "USER_KIND_ANONYMOUS", "session": "USER_KIND_SESSION"}
_MODES = {"erase": "ERASURE_MODE_ERASE", "anonymize": "ERASURE_MODE_ANONYMIZE"}
_PAGE = 10_000
_PATIENCE_SECONDS = 3_600.0  # a person may have millions of events
# A kind and an id.
Name = tuple[str, str]

_kind = click.option(
    "--kind", type=click.Choice(list(_KINDS)), default="user", show_default=True, help="What the id is."
)


@click.group()
def privacy() -> None:
    """Export and erase people."""


@privacy.command()
@click.argument("user")
@_kind
@services_option
@click.pass_obj
def export(target: Target, /, user: str, kind: str, services: tuple[str, ...]) -> None:
    """Print everything held about USER, a JSON object a line."""
    asked = (kind, user)
    _tell_if_one_alone(target, services)
    known = _known_ids(target, services, asked)

    def ask(address: str, stub: PrivacyServiceStub) -> None:
        for name in _to_ask(asked, known, address):
            request = ExportUserRequest(user=_reference(*name))
            for reply in stub.ExportUser(request, timeout=_PATIENCE_SECONDS):
                for line in reply.json_lines:
                    click.echo(f'{{"service":{json.dumps(address)},{line[1:]}')

    _ask_each(target, services, ask)


@privacy.command()
@click.argument("user")
@_kind
@click.option(
    "--mode", type=click.Choice(list(_MODES)), required=True, help="How much remains of the events."
)
@services_option
@click.confirmation_option(prompt="This cannot be undone. Go on?")
@click.pass_obj
def erase(target: Target, /, user: str, kind: str, mode: str, services: tuple[str, ...]) -> None:
    """Erase USER, with every id merged into theirs, and print the receipts.

    Nothing is erased unless every service says first which ids are theirs.
    """
    asked = (kind, user)
    _tell_if_one_alone(target, services)
    # Before anything is erased: afterwards nobody knows.
    known = _known_ids(target, services, asked)

    def ask(address: str, stub: PrivacyServiceStub) -> None:
        rows: Counter[str] = Counter()
        for name in _to_ask(asked, known, address):
            request = EraseUserRequest(user=_reference(*name), mode=ErasureMode.Value(_MODES[mode]))
            reply = stub.EraseUser(request, timeout=_PATIENCE_SECONDS)
            for each in reply.touched_tables:
                rows[each.table] += each.rows
        receipt = {"service": address, "erased_time": reply.erased_time.ToJsonString(), "rows": rows}
        click.echo(json.dumps(receipt))

    _ask_each(target, services, ask)


@privacy.group()
def tombstones() -> None:
    """Keep who was erased apart from the database, and tell a restored one."""


@tombstones.command(name="export")
@services_option
@click.pass_obj
def export_tombstones(target: Target, /, services: tuple[str, ...]) -> None:
    """Print who was erased, as hashes that lead to nobody, a JSON object a line."""

    def ask(address: str, stub: PrivacyServiceStub) -> None:
        token = None
        while token != "":
            page = stub.ListTombstones(ListTombstonesRequest(page_size=_PAGE, page_token=token or ""))
            for each in page.tombstones:
                click.echo(json.dumps(_written(address, each)))
            token = page.next_page_token

    _ask_each(target, services, ask)


@tombstones.command(name="apply")
@click.argument("file", type=click.File("rb"))
@services_option
@click.pass_obj
def apply_tombstones(target: Target, /, file: BinaryIO, services: tuple[str, ...]) -> None:
    """Erase again whom FILE (- for standard input), an export, names. Each service gets its own lines."""
    by_service: dict[str, list[Tombstone]] = {address: [] for address in addresses(target, services)}
    for line in file:
        if line.strip():
            service, tombstone = _read(line)
            if service not in by_service:
                raise click.UsageError(f"the file holds tombstones of {service}: name it with --service")
            by_service[service].append(tombstone)

    def ask(address: str, stub: PrivacyServiceStub) -> None:
        applied = erased = 0
        for start in range(0, len(by_service[address]), _PAGE):
            part = by_service[address][start : start + _PAGE]
            reply = stub.ApplyTombstones(ApplyTombstonesRequest(tombstones=part), timeout=_PATIENCE_SECONDS)
            applied, erased = applied + reply.applied, erased + reply.erased_ids
        click.echo(json.dumps({"service": address, "applied": applied, "erased_ids": erased}))

    _ask_each(target, services, ask)


def _ask_each(
    target: Target, services: Iterable[str], ask: Callable[[str, PrivacyServiceStub], object]
) -> None:
    ask_each(target, services, lambda address, channel: ask(address, PrivacyServiceStub(channel)))


def _tell_if_one_alone(target: Target, services: Iterable[str]) -> None:
    """Say so where others may hold something that nobody is going to ask."""
    if not services and services_beside(target.address) == (target.address,):
        click.echo(f"Asking {target.address} alone: name the other services with --service.", err=True)


def _known_ids(target: Target, services: Iterable[str], asked: Name) -> dict[str, set[Name]]:
    """Return the ids that each service names for a person, the first of what it exports."""
    known: dict[str, set[Name]] = {}

    def ask(address: str, stub: PrivacyServiceStub) -> None:
        stream = stub.ExportUser(ExportUserRequest(user=_reference(*asked)), timeout=_PATIENCE_SECONDS)
        lines = next((map(json.loads, reply.json_lines) for reply in stream), ())
        known[address] = {(line["kind"], line["id"]) for line in lines if line["table"] == "users"}
        stream.cancel()

    _ask_each(target, services, ask)
    return known


def _to_ask(asked: Name, known: Mapping[str, set[Name]], address: str) -> list[Name]:
    """Return whom to ask a service about: who was asked for, and those that it did not name itself."""
    others = set().union(*known.values()) - known[address] - {asked}
    return [asked, *sorted(others)]


def _reference(kind: str, name: str) -> UserReference:
    return UserReference(kind=UserKind.Value(_KINDS[kind]), id=name)


def _written(address: str, tombstone: Tombstone) -> dict[str, str]:
    return {
        "service": address,
        "who_digest": tombstone.who_digest.hex(),
        "erased_time": tombstone.erased_time.ToJsonString(),
        "mode": next(name for name, value in _MODES.items() if value == ErasureMode.Name(tombstone.mode)),
    }


def _read(line: bytes) -> tuple[str, Tombstone]:
    try:
        record = json.loads(line)
        erased = Timestamp()
        erased.FromJsonString(record["erased_time"])
        digest, mode = bytes.fromhex(record["who_digest"]), ErasureMode.Value(_MODES[record["mode"]])
        return str(record["service"]), Tombstone(who_digest=digest, erased_time=erased, mode=mode)
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"not a line of an export: {line[:100]!r}") from error
