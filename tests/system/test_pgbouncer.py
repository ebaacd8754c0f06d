"""Every service behind PgBouncer in transaction mode: migrations, what it writes and reads, its chores."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2, properties_pb2
from brain.forecasting.v1 import predictions_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.postgres import EmbeddedPostgres
from shared import migrations
from shared.auth import Role, mint_token
from tests import pgbouncer
from tests.clock import Clock
from tests.services.alerts import asking as asking_alerts
from tests.services.alerts.conftest import running as running_alerts
from tests.services.events.conftest import running as running_events
from tests.services.experiments import asking as asking_experiments
from tests.services.experiments.conftest import running as running_experiments
from tests.services.forecasting.conftest import running as running_forecasting
from tests.services.funnels import asking as asking_funnels
from tests.services.funnels.conftest import running as running_funnels
from tests.waiting import until

pytestmark = pytest.mark.peers

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")
SPAN = TimeRange(start_time=Timestamp(seconds=1_320_000_000), end_time=Timestamp(seconds=1_320_086_400))
READY = properties_pb2.PROPERTY_STATE_READY

Url = Callable[[str], str]
Keys = tuple[bytes, bytes]


@pytest.fixture
def url(postgres: EmbeddedPostgres, empty_database: str, scratch_directory: Path) -> Iterator[Url]:
    """Migrates a service's schema through PgBouncer, and returns the URL it did it by."""
    database = sqlalchemy.make_url(empty_database).database
    assert database
    # As many as one process of the events service has: where a call waits for another, PgBouncer would.
    with pgbouncer.before(postgres, scratch_directory, SERVICES, connections=25) as port:

        def migrated(service: str) -> str:
            postgres.create_schema(database, service)
            found = f"postgresql://{service}@127.0.0.1:{port}/{database}"
            migrations.upgrade(found, service, f"services.{service}")
            return found

        yield migrated


@pytest.fixture
def public_key_file(token_keys: Keys, tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(token_keys[1])
    return path


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Calls fail loudly; a chore that fails says so in the log alone."""
    yield
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == []


def test_events(url: Url, token_keys: Keys, public_key_file: Path) -> None:
    with running_events(url("events"), Clock(), token_keys[0], public_key_file) as service:
        event = events_pb2.Event(event_id="1", user_id="ann", session_id="s", event="bought")
        event.event_time.FromSeconds(1_320_000_100)
        event.properties.update({"plan": "pro"})
        request = events_pb2.TrackEventsRequest(events=[event, event])
        assert service.events.TrackEvents(request).accepted == 1
        [count] = service.events.CountEvents(events_pb2.CountEventsRequest(time_range=SPAN)).counts
        assert (count.events, count.users) == (1, 1)
        # A chore fills it in, under locks of its transactions.
        service.events.RegisterProperty(properties_pb2.RegisterPropertyRequest(property="plan"))
        listing = properties_pb2.ListPropertiesRequest()
        until(lambda: [p.state for p in service.events.ListProperties(listing).properties] == [READY])


def test_experiments(url: Url, token_keys: Keys, public_key_file: Path) -> None:
    with running_experiments(url("experiments"), Clock(), token_keys[0], public_key_file) as service:
        asking_experiments.create(service)
        assert asking_experiments.start(service).key == "colour"
        assert service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries


def test_funnels(url: Url, token_keys: Keys, public_key_file: Path, tmp_path: Path) -> None:
    with (
        running_events(url("events"), Clock(), token_keys[0], public_key_file) as events,
        running_funnels(url("funnels"), events, token_keys, tmp_path) as service,
    ):
        assert asking_funnels.create(service)
        assert service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries


def test_forecasting(url: Url, token_keys: Keys, public_key_file: Path) -> None:
    with running_forecasting(url("forecasting"), Clock(), token_keys[0], public_key_file) as service:
        prediction = predictions_pb2.Prediction(
            prediction_id="p",
            type=predictions_pb2.PREDICTION_TYPE_METRIC,
            target="visits of the fair",
            period=SPAN,
            predicted=80.0,
            model="by hand",
            model_version="1",
        )
        service.forecasting.SavePrediction(predictions_pb2.SavePredictionRequest(prediction=prediction))
        listed = service.forecasting.ListPredictions(predictions_pb2.ListPredictionsRequest()).predictions
        assert [each.prediction_id for each in listed] == ["p"]


def test_alerts(url: Url, token_keys: Keys, public_key_file: Path, tmp_path: Path) -> None:
    token_file = tmp_path / "analyst.token"
    token_file.write_text(mint_token(token_keys[0], "alerts", [Role.ANALYST], None, 0))
    with running_events(url("events"), Clock(), token_keys[0], public_key_file) as events:
        sources = {"events": f"127.0.0.1:{events.application.server.port}"}
        reading = {"metric_sources": sources, "sources_token_file": token_file}
        with running_alerts(url("alerts"), Clock(), token_keys[0], public_key_file, **reading) as service:
            asking_alerts.create(service)
            assert service.look() == 1
            assert asking_alerts.get(service).alert_id == "errors"
