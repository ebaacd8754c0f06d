"""The settings of the alerts service."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FilePath, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.alerts.notify.email import is_address
from services.alerts.notify.guard import Network
from services.alerts.notify.webhook import parse_secret
from shared.clients import Tls, read_tls
from shared.config import ServiceSettings, check_client_files, tcp_address

_SOURCE = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _networks(value: str) -> str:
    _parse_networks(value)
    return value


def _parse_networks(value: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each.strip()) for each in value.split(",") if each.strip())


def _secret(value: SecretStr) -> SecretStr:
    parse_secret(value.get_secret_value())
    return value


def _sender(value: str) -> str:
    if not is_address(value):
        raise ValueError("must be a mail address")
    return value


class AlertsSettings(ServiceSettings):
    """Read from the environment, ALERTS_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="ALERTS_", frozen=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50055"
    metrics_address: str = "127.0.0.1:9105"
    database_schema: str = Field(default="alerts", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    # Connections to PostgreSQL for calls; looking and telling have one for each source and deliverer besides.
    database_connections: int = Field(default=8, ge=1)

    # The services whose metrics may be watched, as JSON: {"events": "127.0.0.1:50051"}; addresses are
    # host:port, gRPC targets or unix:/path.
    metric_sources: dict[str, str] = Field(default_factory=dict)
    # A token for them with the role `analyst`, and the certificates to trust, which turn TLS on.
    sources_token_file: FilePath | None = None
    sources_ca_file: FilePath | None = None
    # What is shown to them where clients are asked for certificates.
    sources_certificate_file: FilePath | None = None
    sources_key_file: FilePath | None = None
    # How long a call that reads metrics may take. Five of them must end within a lease of 60 s.
    poll_seconds: float = Field(default=10, gt=0, le=11)

    # Networks (CIDR, separated by commas) that receivers may be in besides the open internet.
    allowed_networks: Annotated[str, AfterValidator(_networks)] = ""
    # Threads that tell receivers, of each channel.
    deliverers: int = Field(default=2, ge=1, le=32)
    # How long a receiver is tried that accepts nothing.
    give_up_hours: float = Field(default=72, gt=0)
    # How long history, and what was told, is kept.
    history_days: int = Field(default=90, ge=1)

    # A mail server, host:port; without it alerts cannot mail.
    smtp_address: Annotated[str, AfterValidator(tcp_address)] | None = None
    # "starttls" and "implicit" verify the server's certificate; "off" is for servers on this machine.
    smtp_tls: Literal["starttls", "implicit", "off"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    # The From of mails.
    smtp_sender: Annotated[str, AfterValidator(_sender)] | None = None
    # What URLs of Slack's webhooks begin with.
    slack_base_url: HttpUrl = HttpUrl("https://hooks.slack.com/")
    # Twilio, or a service of its shape: account, token and sender together, or no text messages.
    sms_base_url: HttpUrl = HttpUrl("https://api.twilio.com/")
    sms_account: str | None = Field(default=None, min_length=1)
    sms_token: SecretStr | None = None
    sms_sender: str | None = Field(default=None, min_length=1)
    # `whsec_` and base64, signs webhooks as Standard Webhooks say.
    webhook_secret: Annotated[SecretStr, AfterValidator(_secret)] | None = None
    # Attempts a minute and replica; more wait. 0 for any number.
    email_per_minute: int = Field(default=0, ge=0)
    slack_per_minute: int = Field(default=60, ge=0)
    sms_per_minute: int = Field(default=60, ge=0)
    webhook_per_minute: int = Field(default=0, ge=0)
    alertmanager_per_minute: int = Field(default=0, ge=0)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Networks that receivers may be in besides the open internet."""
        return _parse_networks(self.allowed_networks)

    @field_validator("metric_sources")
    @classmethod
    def _are_named(cls, sources: dict[str, str]) -> dict[str, str]:
        if any(not _SOURCE.fullmatch(name) or not address for name, address in sources.items()):
            raise ValueError("names are lower-case letters, digits, _ and -; addresses are not empty")
        return sources

    @model_validator(mode="after")
    def _mails_from_somewhere(self) -> Self:
        if (self.smtp_address is None) != (self.smtp_sender is None):
            raise ValueError("smtp_address and smtp_sender need each other")
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password need each other")
        if self.smtp_user is not None and self.smtp_tls == "off":
            raise ValueError("smtp_user needs TLS: a password would be sent in the clear")
        return self

    @model_validator(mode="after")
    def _texts_from_somewhere(self) -> Self:
        given = {self.sms_account is None, self.sms_token is None, self.sms_sender is None}
        if len(given) > 1:
            raise ValueError("sms_account, sms_token and sms_sender need each other")
        return self

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
