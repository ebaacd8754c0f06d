"""The settings of the experiments service."""

from typing import Literal, Self

from pydantic import Field, FilePath, model_validator
from pydantic_settings import SettingsConfigDict

from shared.clients import Tls, read_tls
from shared.config import ServiceSettings, check_client_files


class ExperimentsSettings(ServiceSettings):
    """Read from the environment, EXPERIMENTS_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="EXPERIMENTS_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50052"
    metrics_address: str = "127.0.0.1:9102"
    database_schema: str = Field(default="experiments", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # Where flagd's providers ask for flags: host:port (port 0 takes a free one) or unix:/path.
    flagd_address: str = "127.0.0.1:8013"
    # "off" asks flagd's providers for no token; only on this machine alone. "token" asks as `auth` says.
    flagd_auth: Literal["off", "token"] = "off"
    # Event streams and calls of flagd's providers open at once.
    flagd_maximum_calls: int = Field(default=10_000, ge=1)
    # The events service, whose events may feed metrics: host:port, a gRPC target or unix:/path. Without it
    # no events can.
    events_address: str | None = None
    # A token for it with the role `analyst`, and the certificates to trust, which turn TLS on.
    events_token_file: FilePath | None = None
    events_ca_file: FilePath | None = None
    # What is shown to it where clients are asked for certificates.
    events_certificate_file: FilePath | None = None
    events_key_file: FilePath | None = None
    # Connections to PostgreSQL.
    database_connections: int = Field(default=8, ge=1)
    # Assignments kept in memory, about 250 bytes each.
    cached_assignments: int = Field(default=200_000, ge=1_000)

    @model_validator(mode="after")
    def _opens_flags_to_this_machine_alone(self) -> Self:
        host = self.flagd_address.rpartition(":")[0]
        is_local = self.flagd_address.startswith("unix:") or host in {"127.0.0.1", "[::1]", "localhost"}
        if self.flagd_auth == "off" and not is_local:
            raise ValueError("flagd_auth=off needs a loopback flagd_address")
        return self

    @property
    def events_tls(self) -> Tls | None:
        """What the events service is asked with; None without TLS."""
        return read_tls(self.events_ca_file, self.events_certificate_file, self.events_key_file)

    @model_validator(mode="after")
    def _shows_a_whole_certificate(self) -> Self:
        check_client_files("events", self.events_ca_file, self.events_certificate_file, self.events_key_file)
        return self
