"""The audit log tells what was done to the schema, and pages."""

from getpass import getuser

from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2
from brain.events.v1.cohorts_pb2 import Cohort, CohortDefinition, CreateCohortRequest, DeleteCohortRequest
from brain.events.v1.identity_pb2 import LinkUserRequest
from brain.events.v1.properties_pb2 import RegisterPropertyRequest, UnregisterPropertyRequest
from brain.events.v1.saved_metrics_pb2 import METRIC_PERIOD_DAILY, MetricPointToSave, SaveMetricRequest
from brain.events.v1.snapshots_pb2 import DeleteSnapshotRequest, SaveSnapshotRequest
from brain.privacy.v1 import privacy_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from shared import audit
from shared.audit import AuditEntry
from shared.auth import Role, required_role
from tests.services.events.conftest import Service

SECOND = Timestamp(seconds=1_320_000_000)
COHORT = Cohort(
    cohort_id="c",
    name="c",
    definition=CohortDefinition(
        time_range=TimeRange(start_time=SECOND, end_time=Timestamp(seconds=1_330_000_000))
    ),
)
POINT = MetricPointToSave(name="nps", period=METRIC_PERIOD_DAILY, point_time=SECOND, value=1)
ANN = events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id="ann")
TOMBSTONE = privacy_pb2.Tombstone(
    who_digest=bytes(16), erased_time=SECOND, mode=privacy_pb2.ERASURE_MODE_ERASE
)
# In an order in which each changes something.
MUTATIONS: dict[str, Message] = {
    "CreateCohort": CreateCohortRequest(cohort=COHORT),
    "DeleteCohort": DeleteCohortRequest(cohort_id="c"),
    "SaveMetric": SaveMetricRequest(points=[POINT]),
    "RegisterProperty": RegisterPropertyRequest(property="plan"),
    "UnregisterProperty": UnregisterPropertyRequest(property="plan"),
    "SaveSnapshot": SaveSnapshotRequest(snapshot_id="s", name="s", state_json="{}"),
    "DeleteSnapshot": DeleteSnapshotRequest(snapshot_id="s"),
    "LinkUser": LinkUserRequest(user_id="ann", anonymous_id="device"),
    "EraseUser": privacy_pb2.EraseUserRequest(user=ANN, mode=privacy_pb2.ERASURE_MODE_ERASE),
    "ApplyTombstones": privacy_pb2.ApplyTombstonesRequest(tombstones=[TOMBSTONE]),
}
READS = {"ListTombstones", "ExportUser"}


def test_all_that_administrators_may_change_is_known_here() -> None:
    contracts = [each.DESCRIPTOR.services_by_name for each in (events_pb2, privacy_pb2)]
    services = [service for contract in contracts for service in contract.values()]
    admins = {
        method.name
        for service in services
        for method in service.methods
        if required_role(f"/{service.full_name}/{method.name}") is Role.ADMIN
    }
    assert admins - READS <= MUTATIONS.keys()
    assert len(admins) > 6


def test_every_change_leaves_one_entry_under_the_name_of_its_call(service: Service) -> None:
    for name, request in MUTATIONS.items():
        stub = service.events if hasattr(service.events, name) else service.privacy
        getattr(stub, name)(request)
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    done = [(entry.actor, entry.action) for entry in reversed(entries) if entry.action != "migrate"]
    assert done == [("test", name) for name in MUTATIONS]


def test_the_migrations_are_the_first_entries(service: Service) -> None:
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
