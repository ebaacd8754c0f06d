"""Settings of the one-machine run. `docs/settings.md` lists them with every port and file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.errors import LaunchError

CHECKOUT = Path(__file__).parents[1]
# Every replica listens so many ports above the one before; no two ports of a replica are that far apart.
PORTS_APART = 10
LARGEST_PORT = 65_535


@dataclass(frozen=True)
class Service:
    """A replica of a service and where it listens; `more_addresses` by the names of their settings."""

    name: str
    address: str
    metrics_address: str
    # What `python -m` runs.
    module: str
    # Where its health is asked over HTTP; over gRPC where there is none.
    health_url: str | None = None
    # Further addresses, by the names of their settings.
    more_addresses: Mapping[str, str] = field(default_factory=dict)
    # Which of the replicas, from 1.
    number: int = 1

    @property
    def label(self) -> str:
        """The name by which it is told from the other replicas; the first one's is the service's."""
        return self.name if self.number == 1 else f"{self.name}.{self.number}"

    def chosen_by(self) -> dict[str, str]:
        """Return its addresses by what chooses their ports, e.g. "BRAIN_EVENTS_PORT + 10"."""
        addresses = {"PORT": self.address, "METRICS_PORT": self.metrics_address}
        addresses |= {name.replace("ADDRESS", "PORT"): each for name, each in self.more_addresses.items()}
        above = f" + {PORTS_APART * (self.number - 1)}" if self.number > 1 else ""
        return {f"BRAIN_{self.name.upper()}_{role}{above}": each for role, each in addresses.items()}


class LocalSettings(BaseSettings):
    """What the person who runs the suite on one machine may change, from BRAIN_… variables."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="BRAIN_")

    # Everything the suite writes lies in here.
    directory: Path = CHECKOUT / ".brain"
    # The interface the services listen on.
    host: str = "127.0.0.1"
    # Processes of each service; the gateway is one.
    replicas: int = Field(default=1, ge=1, le=9)
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
        """Return the replicas of each service, services in order of their start: each has a schema."""
        return (
            *self._replicas("events", self.events_port, self.events_metrics_port),
            *self._replicas(
                "experiments",
                self.experiments_port,
                self.experiments_metrics_port,
                FLAGD_ADDRESS=self.experiments_flagd_port,
            ),
            *self._replicas("funnels", self.funnels_port, self.funnels_metrics_port),
            *self._replicas("forecasting", self.forecasting_port, self.forecasting_metrics_port),
            *self._replicas("alerts", self.alerts_port, self.alerts_metrics_port),
        )

    def address_of(self, name: str) -> str:
        """Return where the replicas of a service listen, as clients take it: with commas between."""
        return ",".join(service.address for service in self.services() if service.name == name)

    def gateway(self) -> Service:
        """Return the gateway, which needs the services."""
        address = f"{self.host}:{self.gateway_port}"
        metrics = f"{self.host}:{self.gateway_metrics_port}"
        return Service("gateway", address, metrics, "gateway", f"http://{address}/healthz")

    @property
    def minimum_free_bytes(self) -> int:
        """Ingest is refused while less is free: a full disk under the write-ahead log stops PostgreSQL."""
        return 2 * self.max_wal_mebibytes * 1024**2

    def _replicas(self, name: str, port: int, metrics_port: int, **more: int) -> Iterator[Service]:
        for number in range(1, self.replicas + 1):
            above = PORTS_APART * (number - 1)
            yield Service(
                name,
                f"{self.host}:{port + above}",
                f"{self.host}:{metrics_port + above}",
                f"services.{name}",
                more_addresses={role: f"{self.host}:{each + above}" for role, each in more.items()},
                number=number,
            )


def load() -> LocalSettings:
    """Read the settings from the environment; raise LaunchError with every problem."""
    try:
        chosen = LocalSettings()
    except ValidationError as error:
        problems = [f"BRAIN_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
        raise LaunchError("\n".join(["These settings are wrong:", *problems])) from None
    _refuse_addresses(chosen)
    return chosen


def _refuse_addresses(chosen: LocalSettings) -> None:
    """Raise LaunchError for two of one address, a port too large, or a host that cannot stand in a list."""
    if chosen.replicas > 1:
        try:
            ip_address(chosen.host.strip("[]"))
        except ValueError:
            raise LaunchError(
                f"BRAIN_HOST must be an IP address where BRAIN_REPLICAS is more than 1, not {chosen.host}"
            ) from None
    found: dict[str, str] = {}
    for service in (*chosen.services(), chosen.gateway()):
        for choice, address in service.chosen_by().items():
            if address in found:
                raise LaunchError(f"{found[address]} and {choice} are the same, {address}: choose two ports")
            if int(address.rpartition(":")[2]) > LARGEST_PORT:
                raise LaunchError(f"{choice} is {address}, beyond the last port: choose a smaller one")
            found[address] = choice
