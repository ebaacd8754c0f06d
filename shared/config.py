"""Settings every service has. They come from the environment, which nothing else reads."""

import re
import sys
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    Field,
    FilePath,
    HttpUrl,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.clients import Tls, read_tls
from shared.encryption import BlindIndex, Keyring
from shared.tls import ServerFiles

# The pinned tzdata package decides when days begin, on every replica alike, and not the machine's files.
zoneinfo.reset_tzpath(())

_MAXIMUM_PORT = 65_535
# Role and password, then hosts, numbers of ports, and the rest.
_DATABASE_URL = re.compile(r"postgres(ql)?://([^:/@]*(:[^@]*)?@)?(\[[^@/]*\]|[^@:/?]*)(:\d*)?([/?][^@]*)?")


def tcp_address(value: str) -> str:
    """Return a host:port as it is; raise ValueError for anything else."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _MAXIMUM_PORT:
        raise ValueError("must be host:port")
    return value


def _address(value: str) -> str:
    return value if value.startswith("unix:") else tcp_address(value)


def _optional_address(value: str) -> str:
    return value and _address(value)


def database_address(value: str) -> str:
    """Return the URL of a database as it is; raise ValueError, which never quotes it, for other texts.

    An @ in a password would make the rest of it part of the host, which errors and logs tell.
    """
    found = _DATABASE_URL.fullmatch(value)
    if found is None:
        raise ValueError("must be postgresql://role:password@host:port/database, with an @ in these as %40")
    return value


def _schema(value: str) -> str:
    if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", value):
        raise ValueError("must be a plain lower-case identifier of up to 63 characters")
    return value


def _keyring(value: SecretStr) -> SecretStr:
    Keyring.parse(value.get_secret_value())
    return value


def _blind_index(value: SecretStr) -> SecretStr:
    BlindIndex.parse(value.get_secret_value())
    return value


def check_client_files(asked: str, ca: Path | None, certificate: Path | None, key: Path | None) -> None:
    """Raise ValueError unless what is shown to the servers that are `asked` is whole, and TLS is on there."""
    if (certificate is None) != (key is None):
        raise ValueError(f"{asked}_certificate_file and {asked}_key_file need each other")
    if certificate is not None and ca is None:
        raise ValueError(f"{asked}_certificate_file needs the authority's file, which turns TLS on")


class ServerSettings(BaseSettings):
    """What every server needs to know, whatever it speaks. A subclass names its prefix and its defaults.

    `class EventsSettings(ServiceSettings)` with `model_config = SettingsConfigDict(env_prefix="EVENTS_")`
    reads EVENTS_ADDRESS and so on.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    # Where to serve: host:port (port 0 takes a free one) or, for gRPC, unix:/path.
    address: str
    # Where Prometheus scrapes, host:port.
    metrics_address: str
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # How long a stopping server lets running calls finish.
    drain_seconds: float = Field(default=10, ge=0)
    # "off" takes every caller for an administrator.
    auth: Literal["token", "off"] = "token"
    # Exactly one of these two verifies tokens.
    token_public_key_file: FilePath | None = None
    jwks_url: HttpUrl | None = None
    # What its tokens must carry as `iss` and `aud`: the same keys sign tokens for others.
    jwks_issuer: str | None = Field(default=None, min_length=1)
    jwks_audience: str | None = Field(default=None, min_length=1)
    # Both for TLS; the CA besides to ask clients for certificates.
    tls_certificate_file: FilePath | None = None
    tls_key_file: FilePath | None = None
    tls_client_ca_file: FilePath | None = None
    # An OpenTelemetry collector that takes traces by OTLP over gRPC, host:port or unix:/path; empty for none.
    traces_address: Annotated[str, AfterValidator(_optional_address)] = ""
    # The authority of its certificate, which turns TLS on, and what is shown to it where it asks.
    traces_ca_file: FilePath | None = None
    traces_certificate_file: FilePath | None = None
    traces_key_file: FilePath | None = None
    # The share of requests that are traced, of those that come without a decision of their caller's.
    traces_sample_ratio: float = Field(default=1, ge=0, le=1)

    # Subclasses give these defaults, and would lose a check that is part of the field's type.
    _address_is_valid = field_validator("address")(_address)
    _metrics_address_is_valid = field_validator("metrics_address")(tcp_address)

    @model_validator(mode="after")
    def _verifies_tokens_one_way(self) -> Self:
        sources = [self.token_public_key_file, self.jwks_url]
        given = sum(source is not None for source in sources)
        if self.auth == "token" and given != 1:
            raise ValueError("auth=token needs exactly one of token_public_key_file and jwks_url")
        if self.auth == "off" and given:
            raise ValueError("auth=off has no use for token_public_key_file or jwks_url")
        return self

    @model_validator(mode="after")
    def _knows_whose_tokens_to_take(self) -> Self:
        needed = self.jwks_url is not None
        if any((given is not None) != needed for given in (self.jwks_issuer, self.jwks_audience)):
            raise ValueError("jwks_url, jwks_issuer and jwks_audience need each other")
        return self

    @property
    def traces_tls(self) -> Tls | None:
        """What the collector of traces is asked with; None without TLS."""
        return read_tls(self.traces_ca_file, self.traces_certificate_file, self.traces_key_file)

    @model_validator(mode="after")
    def _shows_a_whole_certificate_to_the_collector(self) -> Self:
        if self.traces_ca_file is not None and not self.traces_address:
            raise ValueError("traces_ca_file needs traces_address")
        check_client_files("traces", self.traces_ca_file, self.traces_certificate_file, self.traces_key_file)
        return self

    @property
    def tls_files(self) -> ServerFiles | None:
        """What the server shows and asks for, None where TLS is off."""
        if self.tls_certificate_file is None or self.tls_key_file is None:
            return None
        return ServerFiles(self.tls_certificate_file, self.tls_key_file, self.tls_client_ca_file)

    @model_validator(mode="after")
    def _has_both_halves_of_tls(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file need each other")
        if self.tls_client_ca_file is not None and self.tls_key_file is None:
            raise ValueError("tls_client_ca_file needs tls_certificate_file and tls_key_file")
        files = self.tls_files
        try:
            if files is not None:
                files.read()
        except (OSError, ValueError) as error:
            raise ValueError(f"the files of TLS cannot be used: {error}") from None
        return self


class ServiceSettings(ServerSettings):
    """What a service needs to know besides: its database, its threads, its keys."""

    # postgresql://user:password@host:port/database
    database_url: Annotated[str, AfterValidator(database_address)] = Field(repr=False)
    # The schema that holds this service's tables.
    database_schema: str
    # Threads that run calls.
    max_workers: int = Field(default=16, ge=1, le=1_000)
    # Calls running or waiting; more are refused with RESOURCE_EXHAUSTED.
    maximum_concurrent_rpcs: int = Field(default=200, ge=1)
    # Calls of them that may stream at once, fewer than the threads; half of these unless set. More are
    # refused with RESOURCE_EXHAUSTED.
    maximum_streams: int | None = Field(default=None, ge=1)
    # Calls a minute that one token may make to this process; 0 for any number.
    calls_per_minute: int = Field(default=0, ge=0)
    # A call whose client neither sends nor reads for this long is ended.
    stream_idle_seconds: float = Field(default=60, gt=0)
    # How long a statement that reads for a call may run, where its caller would wait longer.
    statement_seconds: float = Field(default=30, gt=0)
    # The calendar of days where a request names no zone.
    reporting_time_zone: ZoneInfo = ZoneInfo("UTC")
    # `id:base64key,…`, the first encrypts, all decrypt.
    encryption_keys: Annotated[SecretStr, AfterValidator(_keyring)]
    # A file outside the database where erasures are noted too, and read from at each start: a database that
    # was restored from before an erasure is told of it then.
    erasure_journal: Path | None = None
    # base64, 32 bytes. It never changes: digests under another key find nobody.
    blind_index_key: Annotated[SecretStr, AfterValidator(_blind_index)]

    # A default of a subclass would lose a check that is part of the field's type.
    _schema_is_valid = field_validator("database_schema")(_schema)

    @property
    def package(self) -> str:
        """The package of the service, with its migrations: that of the module which holds its settings."""
        return type(self).__module__.rpartition(".")[0]

    @property
    def keyring(self) -> Keyring:
        """What encrypts."""
        return Keyring.parse(self.encryption_keys.get_secret_value())

    @property
    def blind_index(self) -> BlindIndex:
        """What digests, so that what is encrypted can be found."""
        return BlindIndex.parse(self.blind_index_key.get_secret_value())

    @property
    def streams(self) -> int:
        """How many calls may stream at once."""
        return self.maximum_streams or max(1, self.max_workers // 2)

    @model_validator(mode="after")
    def _keeps_threads_from_streams(self) -> Self:
        if self.maximum_streams is not None and self.maximum_streams >= self.max_workers:
            raise ValueError("maximum_streams must be less than max_workers: each stream holds a thread")
        return self


S = TypeVar("S", bound=ServerSettings)


def load(settings_class: type[S]) -> S:
    """Read the settings from the environment; end the process with code 2 and every problem on stderr."""
    try:
        return settings_class()  # type: ignore[call-arg]  # they come from the environment
    except ValidationError as error:
        _refuse(settings_class, error)


def _refuse(settings_class: type[ServerSettings], error: ValidationError) -> NoReturn:
    prefix = settings_class.model_config.get("env_prefix", "")
    problems = [_problem(prefix, details) for details in error.errors(include_url=False, include_input=False)]
    sys.stderr.write("\n".join(["These settings are wrong:", *problems, ""]))
    sys.exit(2)


def _problem(prefix: str, details: ErrorDetails) -> str:
    place = "_".join(map(str, details["loc"]))
    name = f"{prefix}{place}".upper() if place else "together"
    message = "is required" if details["type"] == "missing" else details["msg"]
    return f"  {name}: {message}"
