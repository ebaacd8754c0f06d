"""The settings of the events service."""

from typing import Annotated, Self

from pydantic import AfterValidator, DirectoryPath, Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.config import ServiceSettings, database_address


class EventsSettings(ServiceSettings):
    """Read from the environment, EVENTS_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="EVENTS_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50051"
    metrics_address: str = "127.0.0.1:9101"
    database_schema: str = Field(default="events", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # Connections to PostgreSQL for calls that read; writers and others have thirteen more and one a writer.
    database_connections: int = Field(default=8, ge=1)
    # Questions are asked here instead, of a streaming replica for example; what changes something, resolves
    # ids or is about privacy stays with database_url.
    read_database_url: Annotated[str, AfterValidator(database_address)] | None = Field(
        default=None, repr=False
    )
    # Threads that write events, a transaction each; those that hold the same event go one after the other.
    writers: int = Field(default=2, ge=1, le=32)
    # Events that may wait for a writer; more are refused with RESOURCE_EXHAUSTED.
    queue_events: int = Field(default=50_000, ge=5_000)
    # Ids of people kept in memory, about 200 bytes each.
    cached_users: int = Field(default=250_000, ge=1_000)
    # Columns of raw events kept in memory for conversions, what was used least recently goes first.
    column_cache_bytes: int = Field(default=256 * 2**20, ge=0)
    # Different (event name, category) pairs; events with new ones beyond are rejected.
    maximum_event_types: int = Field(default=10_000, ge=1)
    # Events a minute that one token may send to this process where the token does not say; 0 for any number.
    events_per_minute: int = Field(default=0, ge=0)
    # A path on PostgreSQL's disk where it is this machine's: events are refused while less is free there.
    disk_path: DirectoryPath | None = None
    minimum_free_bytes: int = Field(default=0, ge=0)
    # A connection that sends nothing for this long in the middle of sending events is ended.
    stalled_copy_seconds: float = Field(default=10, gt=0)

    # Months (UTC) before the current one whose raw events are kept; 0 keeps all. Roll-ups stay.
    raw_retention_months: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _watches_a_disk_for_something(self) -> Self:
        if (self.disk_path is None) != (self.minimum_free_bytes == 0):
            raise ValueError("disk_path and minimum_free_bytes need each other")
        return self
