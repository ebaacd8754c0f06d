"""Every RPC of the contracts says who may call it."""

import importlib
from pathlib import Path

import brain
from google.protobuf.descriptor import FileDescriptor

from shared.auth import Role, is_open, required_role
from tests.shared.sample_service import SERVICE

GENERATED = Path(next(iter(brain.__path__)))


def contracts() -> list[FileDescriptor]:
    names = [path.relative_to(GENERATED.parent).with_suffix("") for path in GENERATED.rglob("*_pb2.py")]
    return [importlib.import_module(".".join(name.parts)).DESCRIPTOR for name in names]


def methods() -> list[str]:
    services = [service for file in contracts() for service in file.services_by_name.values()]
    return [f"/{service.full_name}/{method.name}" for service in services for method in service.methods]


def test_every_rpc_of_every_contract_has_a_role() -> None:
    assert "/brain.events.v1.EventsService/TrackEvents" in methods()
    assert [method for method in methods() if required_role(method) is None] == []
    assert [method for method in methods() if is_open(method)] == []


def test_roles_are_those_beside_the_rpcs() -> None:
    assert contracts(), "all are imported"
    assert required_role("/brain.events.v1.EventsService/TrackEvents") is Role.INGEST
    assert required_role("/brain.events.v1.EventsService/CountEvents") is Role.ANALYST
    assert required_role("/brain.audit.v1.AuditService/ListAuditEntries") is Role.ADMIN


def test_what_declares_nothing_has_no_role() -> None:
    assert required_role(f"/{SERVICE}/Undeclared") is None
    assert required_role("/no.such.Service/Call") is None
    assert required_role("") is None
