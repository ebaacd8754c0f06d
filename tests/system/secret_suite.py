"""The suite as a person starts it, at log level DEBUG, with secrets wherever it may be given any."""

import base64
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy import keys
from shared.auth import Role, mint_token
from tests.collector import Collector, collecting
from tests.shared.certificates import Authority
from tests.system.echoing import echoing_http, echoing_mail
from tests.system.launcher import Launcher, free_ports
from tests.system.planted import Secrets, planted, planted_key

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")
USER, EMAIL = planted("user"), f"{planted('mail')}@example.com"
ANONYMOUS, VALUE = planted("anonymous"), planted("value")
PHONE = "+49151987654321"
# Of whoever sends rubbish: it may come back to them, and goes nowhere else.
RUBBISH = planted("rubbish")
WRONG_TOKEN = planted("wrong token")
LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True)
class SecretSuite:
    """A suite that is up, what must not be seen of it, and where its receivers are."""

    launcher: Launcher
    secrets: Secrets
    http_port: int
    tokens: dict[str, str]
    collector: Collector

    @property
    def directory(self) -> Path:
        return self.launcher.directory

    def address(self, service: str) -> str:
        return self.launcher.address_of(service)

    def url(self, path: str) -> str:
        """Return a URL of the receiver that repeats everything."""
        return f"http://127.0.0.1:{self.http_port}/{path}"


@contextmanager
def secret_suite(directory: Path) -> Iterator[SecretSuite]:
    """Start it in a new directory; its database is reached by TCP, with passwords."""
    directory.mkdir(mode=0o711)
    certificate, key, authority = _certificates(directory)
    secrets = Secrets()
    _plant_keys(directory, secrets)
    with (
        collecting() as collector,
        echoing_http() as http_port,
        echoing_mail(certificate, key) as mail_port,
    ):
        settings = _settings(http_port, mail_port, authority) | _traced_by(collector)
        with pytest.MonkeyPatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            launcher = Launcher(directory, free_ports())
        try:
            launcher.wait_for("Analytics Brain is up")
            _note(launcher, secrets, settings)
            yield SecretSuite(launcher, secrets, http_port, _tokens(directory, secrets), collector)
        finally:
            launcher.stop()


def _certificates(directory: Path) -> tuple[Path, Path, Path]:
    authority = Authority()
    paths = [directory / name for name in ("mail.crt", "mail.key", "mail_ca.crt")]
    for path, pem in zip(paths, (*authority.issue("127.0.0.1"), authority.pem), strict=True):
        path.write_bytes(pem)
    certificate, key, ca = paths
    return certificate, key, ca


def _plant_keys(directory: Path, secrets: Secrets) -> None:
    kept = {}
    for service in SERVICES:
        for name in ("ENCRYPTION_KEYS", "BLIND_INDEX_KEY"):
            key = planted_key(f"{service} {name}")
            secrets.add(f"{service} {name}", key)
            kept[f"{service.upper()}_{name}"] = ("1:" if name == "ENCRYPTION_KEYS" else "") + _base64(key)
    secrets.add("gateway's secret", planted_key("gateway"))
    secrets.add("write key", planted("write key"))
    kept |= {"GATEWAY_SECRET": _base64(planted_key("gateway"))}
    kept |= {keys.WRITE_KEYS: f"{keys.SOURCE}:{planted('write key')}"}
    keys.write(directory / keys.SECRETS, "".join(f"{name}={value}\n" for name, value in kept.items()))


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _settings(http_port: int, mail_port: int, authority: Path) -> dict[str, str]:
    here = f"http://127.0.0.1:{http_port}"
    return {
        **{f"{name.upper()}_LOG_LEVEL": "DEBUG" for name in (*SERVICES, "gateway")},
        "SSL_CERT_FILE": str(authority),
        "ALERTS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ALERTS_SMTP_ADDRESS": f"127.0.0.1:{mail_port}",
        "ALERTS_SMTP_TLS": "implicit",
        "ALERTS_SMTP_SENDER": "brain@example.com",
        "ALERTS_SMTP_USER": planted("smtp user"),
        "ALERTS_SMTP_PASSWORD": planted("smtp password"),
        "ALERTS_SLACK_BASE_URL": f"{here}/slack/",
        "ALERTS_SMS_BASE_URL": here,
        "ALERTS_SMS_ACCOUNT": "AC1",
        "ALERTS_SMS_TOKEN": planted("sms token"),
        "ALERTS_SMS_SENDER": "+15005550006",
        "ALERTS_WEBHOOK_SECRET": f"whsec_{_base64(planted_key('webhook secret'))}",
    }


def _traced_by(collector: Collector) -> dict[str, str]:
    return {f"{name.upper()}_TRACES_ADDRESS": collector.address for name in (*SERVICES, "gateway")}


def _note(launcher: Launcher, secrets: Secrets, settings: dict[str, str]) -> None:
    for name in ("ALERTS_SMTP_USER", "ALERTS_SMTP_PASSWORD", "ALERTS_SMS_TOKEN"):
        secrets.add(name, settings[name])
    secrets.add("ALERTS_WEBHOOK_SECRET", planted_key("webhook secret"))
    secrets.add("database password", (launcher.directory / "postgres.password").read_text())
    private = (launcher.directory / keys.PRIVATE_KEY).read_text().splitlines()[1]
    secrets.add("token signing key", base64.b64decode(private)[-32:])  # the rest says whose kind it is
    secrets.add("key of a certificate", (launcher.directory / "mail.key").read_text().splitlines()[2])


def _tokens(directory: Path, secrets: Secrets) -> dict[str, str]:
    """Return the suite's tokens, one of a viewer, one that is over; what signs them is a secret."""
    private = (directory / keys.PRIVATE_KEY).read_bytes()
    tokens = {path.stem: path.read_text().strip() for path in directory.glob("*.token")}
    tokens["viewer"] = mint_token(private, "viewer", [Role.ANALYST], 3_600, time.time())
    tokens["expired"] = mint_token(private, "late", [Role.ADMIN], 1, 0)
    for name, token in tokens.items():
        secrets.add(f"token {name}", token.rpartition(".")[2])
    return tokens


def told_at_start(suite: SecretSuite) -> bytes:
    """Return what the command printed, but for the tokens and the key that it prints for its user."""
    said = suite.launcher.said()
    return re.sub(r"^    (eyJ\S+|[a-z0-9]{32})$", "", said, flags=re.MULTILINE).encode()
