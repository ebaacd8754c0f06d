"""Settings of the one-machine run. `docs/settings.md` lists them with every port and file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.errors import LaunchError

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Service:
    """A service of the suite and where it listens; `more_addresses` by the names of their settings."""

    name: str
    address: str
    metrics_address: str
    # What `python -m` runs.
    module: str
    # Where its health is asked over HTTP; over gRPC where there is none.
    health_url: str | None = None
    # Further addresses, by the names of their settings.
    more_addresses: Mapping[str, str] = field(default_factory=dict)


class LocalSettings(BaseSettings):
    """What the person who runs the suite on one machine may change, from BRAIN_… variables."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="BRAIN_")

    # Everything the suite writes lies in here.
    directory: Path = CHECKOUT / ".brain"
    # The interface the services listen on.
    host: str = "127.0.0.1"
    events_port: int = Field(default=50051, ge=1, le=65535)
    events_metrics_port: int = Field(default=9101, ge=1, le=65535)
    gateway_port: int = Field(default=8080, ge=1, le=65535)
    gateway_metrics_port: int = Field(default=9106, ge=1, le=65535)
    experiments_port: int = Field(default=50052, ge=1, le=65535)
    experiments_metrics_port: int = Field(default=9102, ge=1, le=65535)
    # Where OpenFeature's flagd providers ask for flags.
    experiments_flagd_port: int = Field(default=8013, ge=1, le=65535)
    forecasting_port: int = Field(default=50054, ge=1, le=65535)
    forecasting_metrics_port: int = Field(default=9104, ge=1, le=65535)
    funnels_port: int = Field(default=50053, ge=1, le=65535)
    funnels_metrics_port: int = Field(default=9103, ge=1, le=65535)
    alerts_port: int = Field(default=50055, ge=1, le=65535)
    alerts_metrics_port: int = Field(default=9105, ge=1, le=65535)
    # PostgreSQL's max_wal_size. Ingest is refused while less than twice this is free on the disk.
    max_wal_mebibytes: int = Field(default=2048, ge=64)

    def services(self) -> tuple[Service, ...]:
        """Return the services to start, in order: each has a schema in the database."""
        return (
            self._service("events", self.events_port, self.events_metrics_port),
            self._service(
                "experiments",
                self.experiments_port,
                self.experiments_metrics_port,
                FLAGD_ADDRESS=f"{self.host}:{self.experiments_flagd_port}",
            ),
            self._service("funnels", self.funnels_port, self.funnels_metrics_port),
            self._service("forecasting", self.forecasting_port, self.forecasting_metrics_port),
            self._service("alerts", self.alerts_port, self.alerts_metrics_port),
        )

    def gateway(self) -> Service:
        """Return the gateway, which needs the services."""
        address = f"{self.host}:{self.gateway_port}"
        metrics = f"{self.host}:{self.gateway_metrics_port}"
        return Service("gateway", address, metrics, "gateway", f"http://{address}/healthz")

    @property
    def minimum_free_bytes(self) -> int:
        """Ingest is refused while less is free: a full disk under the write-ahead log stops PostgreSQL."""
        return 2 * self.max_wal_mebibytes * 1024**2

    def _service(self, name: str, port: int, metrics_port: int, **more: str) -> Service:
        address, metrics = f"{self.host}:{port}", f"{self.host}:{metrics_port}"
        return Service(name, address, metrics, f"services.{name}", more_addresses=more)


def load() -> LocalSettings:
    """Read the settings from the environment; raise LaunchError with every problem."""
    try:
        chosen = LocalSettings()
    except ValidationError as error:
        problems = [f"BRAIN_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
        raise LaunchError("\n".join(["These settings are wrong:", *problems])) from None
    for service in (*chosen.services(), chosen.gateway()):
        if service.address == service.metrics_address:
            ports = f"BRAIN_{service.name.upper()}_PORT and BRAIN_{service.name.upper()}_METRICS_PORT"
            raise LaunchError(f"{ports} are the same, {service.address}: choose two ports")
    return chosen
