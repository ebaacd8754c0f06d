"""The calls of EventsService about saved dashboard states."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import orjson
from brain.events.v1 import snapshots_pb2 as pb

from services.events.snapshots import store
from services.events.snapshots.store import Snapshot
from shared.calls import current_caller
from shared.errors import NotFound
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.validation import Violations, page_size, text

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Engine

MAXIMUM_STATE_BYTES = 256 * 1024
MAXIMUM_NAME = 200
MAXIMUM_MICROS = 253_402_300_799_999_999  # the year 9999


@dataclass(frozen=True)
class SnapshotCalls:
    """Saves, returns, lists and deletes states."""

    engine: "Engine"
    clock: Callable[[], int]

    def SaveSnapshot(
        self, request: pb.SaveSnapshotRequest, context: "grpc.ServicerContext"
    ) -> pb.SaveSnapshotResponse:
        """Save a state."""
        violations = Violations()
        chosen = text(violations, "snapshot_id", request.snapshot_id, maximum=MAXIMUM_NAME, required=False)
        name = text(violations, "name", request.name, maximum=MAXIMUM_NAME)
        state = _state(violations, request.state_json)
        violations.raise_if_any()
        now = self.clock()
        snapshot = Snapshot(chosen or str(uuid4()), name, current_caller().subject, now, now, state)
        return pb.SaveSnapshotResponse(snapshot=_message(store.save(self.engine, snapshot)))

    def GetSnapshot(
        self, request: pb.GetSnapshotRequest, context: "grpc.ServicerContext"
    ) -> pb.GetSnapshotResponse:
        """Return a state."""
        snapshot = store.get(self.engine, _required_id(request))
        if snapshot is None:
            raise NotFound("there is no snapshot with this id", "SNAPSHOT_UNKNOWN")
        return pb.GetSnapshotResponse(snapshot=_message(snapshot))

    def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListSnapshotsResponse:
        """List states, newest first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1_000)
        after = decode_token(violations, request, request.page_token, (int, str))
        if after and not 0 <= cast("int", after[0]) <= MAXIMUM_MICROS:
            violations.add("page_token", "is not a token of this request")
        violations.raise_if_any()
        position = cast("tuple[int, str]", tuple(after)) if after else None
        found = store.page(self.engine, position, size + 1)
        page = found[:size]
        token = ""
        if len(found) > size:
            token = encode_token(request, [page[-1].created_time, page[-1].snapshot_id])
        return pb.ListSnapshotsResponse(snapshots=map(_message, page), next_page_token=token)

    def DeleteSnapshot(
        self, request: pb.DeleteSnapshotRequest, context: "grpc.ServicerContext"
    ) -> pb.DeleteSnapshotResponse:
        """Delete a state."""
        deleted = store.delete(self.engine, _required_id(request), current_caller().subject)
        return pb.DeleteSnapshotResponse(deleted=deleted)


def _required_id(request: "pb.GetSnapshotRequest | pb.DeleteSnapshotRequest") -> str:
    violations = Violations()
    snapshot_id = text(violations, "snapshot_id", request.snapshot_id, maximum=MAXIMUM_NAME)
    violations.raise_if_any()
    return snapshot_id


def _state(violations: Violations, state_json: str) -> str:
    encoded = state_json.encode()
    if not encoded:
        violations.add("state_json", "is required")
    elif len(encoded) > MAXIMUM_STATE_BYTES:
        violations.add("state_json", f"is longer than {MAXIMUM_STATE_BYTES:,} bytes")
    elif not _is_object(encoded):
        violations.add("state_json", "is not a JSON object")
    return state_json


def _is_object(encoded: bytes) -> bool:
    try:
        return isinstance(orjson.loads(encoded), dict)
    except orjson.JSONDecodeError:
        return False


def _message(snapshot: Snapshot) -> pb.Snapshot:
    return pb.Snapshot(
        snapshot_id=snapshot.snapshot_id,
        name=snapshot.name,
        state_json=snapshot.state,
        creator=snapshot.creator,
        created_time=from_micros(snapshot.created_time),
        updated_time=from_micros(snapshot.updated_time),
    )
