"""The audit log tells what was done to the schema, and pages."""

from getpass import getuser

from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest

from shared import audit
from shared.audit import AuditEntry
from tests.services.events.conftest import Service


def test_the_migration_is_the_first_entry(service: Service) -> None:
    *_, entry = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries  # newest first
    assert (entry.actor, entry.action, entry.subject) == (getuser(), "migrate", "schema events")
    assert dict(entry.details) == {"revision": "0001"}


def test_pages_follow_one_another_newest_first(service: Service) -> None:
    with service.engine.begin() as connection:
        for number in range(5):
            audit.record(connection, AuditEntry("ann", "renamed", f"thing {number}", {"number": number}))

    listed: list[str] = []
    token = ""
    while True:
        page = service.audit.ListAuditEntries(ListAuditEntriesRequest(page_size=2, page_token=token))
        listed += [entry.subject for entry in page.entries]
        token = page.next_page_token
        if not token:
            break

    assert listed[:5] == ["thing 4", "thing 3", "thing 2", "thing 1", "thing 0"]
    assert set(listed[5:]) == {"schema events"}  # one for each migration
