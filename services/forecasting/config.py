"""The settings of the forecasting service."""

from typing import Self

from pydantic import Field, FilePath, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.clients import Tls, read_tls
from shared.config import ServiceSettings, check_client_files


class ForecastingSettings(ServiceSettings):
    """Read from the environment, FORECASTING_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="FORECASTING_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50054"
    metrics_address: str = "127.0.0.1:9104"
    database_schema: str = Field(default="forecasting", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # Services whose metrics may be forecast, as JSON: {"events": "127.0.0.1:50051"}. Purchases and contracts
    # are read from `events`.
    metric_sources: dict[str, str] = Field(default_factory=dict)
    # A token for them with the role `analyst`, and the certificates to trust, which turn TLS on.
    sources_token_file: FilePath | None = None
    sources_ca_file: FilePath | None = None
    # What is shown to them where clients are asked for certificates.
    sources_certificate_file: FilePath | None = None
    sources_key_file: FilePath | None = None
    # Connections to PostgreSQL.
    database_connections: int = Field(default=8, ge=1)
    # How long after the end of its period the actual value of a prediction is read: late events may come.
    actuals_grace_seconds: float = Field(default=3_600, ge=0)

    @field_validator("metric_sources")
    @classmethod
    def _are_named(cls, sources: dict[str, str]) -> dict[str, str]:
        if any(not name or not address for name, address in sources.items()):
            raise ValueError("needs names and addresses that are not empty")
        return sources

    @property
    def sources_tls(self) -> Tls | None:
        """What metric sources are asked with; None without TLS."""
        return read_tls(self.sources_ca_file, self.sources_certificate_file, self.sources_key_file)

    @model_validator(mode="after")
    def _shows_a_whole_certificate(self) -> Self:
        check_client_files(
            "sources", self.sources_ca_file, self.sources_certificate_file, self.sources_key_file
        )
        return self
