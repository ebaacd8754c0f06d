"""A service whose one metric is what a test says, behind the code and the server every service has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from zoneinfo import ZoneInfo

from brain.metrics.v1 import metrics_pb2 as pb
from brain.metrics.v1.metrics_pb2_grpc import add_MetricSourceServiceServicer_to_server
from prometheus_client import CollectorRegistry

from services.alerts.config import AlertsSettings
from shared import server
from shared.errors import ServiceError
from shared.intervals import INTERVALS, series_of
from shared.metric_source import MetricSource, check_known
from shared.timestamps import from_micros
from shared.validation import Violations
from tests.clock import Clock

NAME = "event_count"


@dataclass
class Script:
    """Values by the start of their window in Unix microseconds; None is absent, others are `otherwise`."""

    clock: Clock
    values: dict[int, float | None] = field(default_factory=dict)
    otherwise: float | None = 0.0
    sample: int = 100
    # The metric is final so long after the end of a window.
    final_after_micros: int = 0
    fails_with: ServiceError | None = None
    answers: Event = field(default_factory=Event)
    queries: list[pb.MetricQuery] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self.answers.set()

    def read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        self.answers.wait(30)
        if self.fails_with is not None:
            raise self.fails_with
        check_known(query.name, [NAME, "anomaly_score"])
        self.queries.append(query)
        violations = Violations()
        series = series_of(violations, query, list(INTERVALS.values()), ZoneInfo("UTC"))
        violations.raise_if_any(f"{path}.")
        return pb.MetricSeries(
            points=[
                pb.MetricPoint(
                    start_time=from_micros(start),
                    value=self.values.get(start, self.otherwise),
                    sample_size=self.sample,
                    complete=end + self.final_after_micros <= self.clock.micros,
                )
                for start, end in series.units
            ]
        )


@contextmanager
def scripted_source(clock: Clock, key: str) -> Iterator[Script]:
    script = Script(clock)
    settings = AlertsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": "postgresql://nowhere/",
            "auth": "off",
            "encryption_keys": f"1:{key}",
            "blind_index_key": key,
        }
    )
    source = MetricSource({NAME: pb.MetricDescriptor(name=NAME)}, script.read)
    running = server.build(
        settings,
        lambda grpc_server: add_MetricSourceServiceServicer_to_server(source, grpc_server),
        ["brain.metrics.v1.MetricSourceService"],
        None,
        ready=lambda: True,
        registry=CollectorRegistry(),
    )
    script.address = f"127.0.0.1:{running.port}"
    yield script
    script.answers.set()
    running.stop()
