"""The settings of the forecasting service."""

from pydantic import Field, FilePath, field_validator
from pydantic_settings import SettingsConfigDict

from shared.config import ServiceSettings


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
