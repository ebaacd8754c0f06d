"""The settings of the funnels service."""

from typing import Self

from pydantic import Field, FilePath, model_validator
from pydantic_settings import SettingsConfigDict

from shared.clients import Tls, read_tls
from shared.config import ServiceSettings, check_client_files


class FunnelsSettings(ServiceSettings):
    """Read from the environment, FUNNELS_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="FUNNELS_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50053"
    metrics_address: str = "127.0.0.1:9103"
    database_schema: str = Field(default="funnels", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # The events service, whose events fill the steps: host:port, a gRPC target or unix:/path.
    events_address: str = "127.0.0.1:50051"
    # A token for it with the role `analyst`, and the certificates to trust, which turn TLS on.
    events_token_file: FilePath | None = None
    events_ca_file: FilePath | None = None
    # What is shown to it where clients are asked for certificates.
    events_certificate_file: FilePath | None = None
    events_key_file: FilePath | None = None
    # Connections to PostgreSQL.
    database_connections: int = Field(default=8, ge=1)
    # Columns of events kept in memory, and a quarter of it for what was found in them; what was used least
    # recently goes first.
    column_cache_bytes: int = Field(default=256 * 2**20, ge=0)

    @property
    def events_tls(self) -> Tls | None:
        """What the events service is asked with; None without TLS."""
        return read_tls(self.events_ca_file, self.events_certificate_file, self.events_key_file)

    @model_validator(mode="after")
    def _shows_a_whole_certificate(self) -> Self:
        check_client_files("events", self.events_ca_file, self.events_certificate_file, self.events_key_file)
        return self
