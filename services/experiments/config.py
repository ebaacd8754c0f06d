"""The settings of the experiments service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.config import ServiceSettings


class ExperimentsSettings(ServiceSettings):
    """Read from the environment, EXPERIMENTS_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="EXPERIMENTS_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50052"
    metrics_address: str = "127.0.0.1:9102"
    database_schema: str = Field(default="experiments", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # Connections to PostgreSQL.
    database_connections: int = Field(default=8, ge=1)
    # Assignments kept in memory, about 250 bytes each.
    cached_assignments: int = Field(default=200_000, ge=1_000)
