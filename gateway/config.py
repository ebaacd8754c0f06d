"""The settings of the gateway."""

import base64
import binascii
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from shared.clients import Tls, read_tls
from shared.config import ServerSettings, check_client_files, tcp_address

_SECRET_BYTES = 32


def secret_bytes(value: SecretStr) -> bytes:
    """Return the 32 bytes of a base64 text; raise ValueError for anything else."""
    try:
        found = base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error as error:
        raise ValueError("must be base64") from error
    if len(found) != _SECRET_BYTES:
        raise ValueError(f"must be base64 of {_SECRET_BYTES} bytes")
    return found


def _secret(value: SecretStr) -> SecretStr:
    secret_bytes(value)
    return value


def sources_by_key(value: SecretStr) -> dict[str, str]:
    """Return write key → source of `source:key,…`; raise ValueError for anything else."""
    found: dict[str, str] = {}
    for pair in filter(None, value.get_secret_value().split(",")):
        source, colon, key = pair.strip().partition(":")
        if not (source and colon and key) or key in found:
            raise ValueError("must be source:key,… with every key once")
        found[key] = source
    return found


def _write_keys(value: SecretStr) -> SecretStr:
    sources_by_key(value)
    return value


class GatewaySettings(ServerSettings):
    """Read from the environment, GATEWAY_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, hide_input_in_errors=True)

    address: Annotated[str, AfterValidator(tcp_address)] = Field(
        default="127.0.0.1:8080", validate_default=True
    )
    metrics_address: str = "127.0.0.1:9106"
    # The events service: host:port, a gRPC target or unix:/path; its authority, PEM, turns TLS on.
    events_address: str = "127.0.0.1:50051"
    events_ca_file: FilePath | None = None
    # The other services, in the same way; without an address their tabs and routes say so, and no more.
    experiments_address: str = ""
    experiments_ca_file: FilePath | None = None
    funnels_address: str = ""
    funnels_ca_file: FilePath | None = None
    forecasting_address: str = ""
    forecasting_ca_file: FilePath | None = None
    alerts_address: str = ""
    alerts_ca_file: FilePath | None = None
    # What is shown to those of them that ask clients for certificates.
    services_certificate_file: FilePath | None = None
    services_key_file: FilePath | None = None
    # How long a call to a service may take.
    call_seconds: float = Field(default=30, gt=0)
    # base64, 32 bytes, the same on every replica: encrypts cookies, names sessions that senders leave open.
    secret: Annotated[SecretStr, AfterValidator(_secret)]
    # `source:key,…`: who may send to the capture endpoints. Write keys stand in web pages: they are no secret
    # from whoever looks for them, and allow nothing else.
    write_keys: Annotated[SecretStr, AfterValidator(_write_keys)] = SecretStr("")
    # What the gateway itself carries when it passes captured events on.
    ingest_token: SecretStr | None = None
    # What happens to captured events of browsers that ask not to be tracked or sold (DNT: 1, Sec-GPC: 1).
    privacy_signals: Literal["drop", "ignore"] = "drop"
    # Shown beside the product's name in the dashboard: production, staging …
    environment: str = Field(default="local", min_length=1, max_length=40)
    # ISO 4217 code of the currency that values are in; empty shows plain numbers.
    currency: str = Field(default="", pattern="^([A-Z]{3})?$")
    # The calendar of days in the dashboard, until a page is asked for another.
    reporting_time_zone: ZoneInfo = ZoneInfo("UTC")
    # Browsers reach the dashboard through HTTPS, so its cookies demand it.
    secure_cookies: bool = False
    # A body, as it is sent and as it is unpacked.
    maximum_body_bytes: int = Field(default=4 << 20, ge=1_024)
    # How long a sender may take for a body.
    body_seconds: float = Field(default=20, gt=0)
    # Connections and requests at once; more are refused with 503.
    maximum_connections: int = Field(default=1_000, ge=1)

    @property
    def _authorities(self) -> dict[str, tuple[str, FilePath | None]]:
        """Where each service is, empty where nowhere, and the authority of its certificate."""
        return {
            "events": (self.events_address, self.events_ca_file),
            "experiments": (self.experiments_address, self.experiments_ca_file),
            "funnels": (self.funnels_address, self.funnels_ca_file),
            "forecasting": (self.forecasting_address, self.forecasting_ca_file),
            "alerts": (self.alerts_address, self.alerts_ca_file),
        }

    @property
    def services(self) -> dict[str, tuple[str, Tls | None]]:
        """Where each service is, empty where nowhere, and what it is asked with; None without TLS."""
        shown = (self.services_certificate_file, self.services_key_file)
        return {
            name: (address, read_tls(ca, *shown if ca else ()))
            for name, (address, ca) in self._authorities.items()
        }

    @model_validator(mode="after")
    def _shows_a_whole_certificate(self) -> Self:
        authority = next((ca for _, ca in self._authorities.values() if ca is not None), None)
        check_client_files("services", authority, self.services_certificate_file, self.services_key_file)
        return self

    @model_validator(mode="after")
    def _captures_with_a_token(self) -> Self:
        has_keys = bool(self.write_keys.get_secret_value())
        if self.auth == "token" and has_keys != (self.ingest_token is not None):
            raise ValueError("write_keys and ingest_token need each other")
        return self
