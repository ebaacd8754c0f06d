"""Programs that are told secrets in settings they refuse, or that lead nowhere."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.faults.servers import KEY, free_port
from tests.shared.certificates import Authority
from tests.system import every_rpc
from tests.system.launcher import PATIENCE_SECONDS, eventually
from tests.system.planted import planted


@dataclass(frozen=True)
class Refused:
    """A module, settings that each hold `planted` of their name, and what it complains of."""

    module: str
    settings: Mapping[str, str]
    complaints: tuple[str, ...]

    def output(self) -> str:
        """Run it to its end, which must be a refusal."""
        done = subprocess.run(
            [sys.executable, "-m", self.module],
            env={**os.environ, **self.settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        return done.stdout + done.stderr


ALERTS = Refused(
    "services.alerts",
    {
        "ALERTS_ENCRYPTION_KEYS": f"1:{planted('ALERTS_ENCRYPTION_KEYS')}",
        "ALERTS_BLIND_INDEX_KEY": planted("ALERTS_BLIND_INDEX_KEY"),
        "ALERTS_WEBHOOK_SECRET": f"whsec_!{planted('ALERTS_WEBHOOK_SECRET')}",
        "ALERTS_DATABASE_URL": f"postgresql://alerts:x@{planted('ALERTS_DATABASE_URL')}@db/brain",
        "ALERTS_SMTP_PASSWORD": planted("ALERTS_SMTP_PASSWORD"),
        "ALERTS_SMS_TOKEN": planted("ALERTS_SMS_TOKEN"),
        "ALERTS_JWKS_URL": f"ftp://id.example/keys?key={planted('ALERTS_JWKS_URL')}",
    },
    (
        "ALERTS_ENCRYPTION_KEYS: ",
        "ALERTS_BLIND_INDEX_KEY: ",
        "ALERTS_WEBHOOK_SECRET: ",
        "ALERTS_DATABASE_URL: ",
    ),
)
GATEWAY = Refused(
    "gateway",
    {
        "GATEWAY_SECRET": planted("GATEWAY_SECRET"),
        "GATEWAY_WRITE_KEYS": planted("GATEWAY_WRITE_KEYS"),
        "GATEWAY_INGEST_TOKEN": planted("GATEWAY_INGEST_TOKEN"),
    },
    ("GATEWAY_SECRET: ", "GATEWAY_WRITE_KEYS: "),
)
EVENTS = Refused(
    "services.events",
    {
        "EVENTS_DATABASE_URL": f"postgresql://events:{planted('EVENTS_DATABASE_URL')}@db/brain",
        "EVENTS_METRICS_ADDRESS": "nowhere",
        "EVENTS_READ_DATABASE_URL": f"mysql://events:{planted('EVENTS_READ_DATABASE_URL')}@db/brain",
    },
    ("EVENTS_METRICS_ADDRESS: ", "EVENTS_READ_DATABASE_URL: "),
)


def locked_out(directory: Path, database_port: str, log: Path) -> None:
    """Run a service, with TLS, that PostgreSQL does not let in, and its migrations: both told to a log."""
    certificate, key = directory / "server.crt", directory / "server.key"
    for path, pem in zip((certificate, key), Authority().issue("127.0.0.1"), strict=True):
        path.write_bytes(pem)
    password, address = planted("wrong password"), f"127.0.0.1:{free_port()}"
    stranger = grpc.ssl_channel_credentials(Authority().pem)
    settings = {
        "ADDRESS": address,
        "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "DATABASE_URL": f"postgresql://funnels:{password}@127.0.0.1:{database_port}/brain",
        "ENCRYPTION_KEYS": f"1:{KEY}",
        "BLIND_INDEX_KEY": KEY,
        "JWKS_URL": f"http://127.0.0.1:1/keys?key={planted('key of the provider')}",
        "JWKS_ISSUER": "issuer",
        "JWKS_AUDIENCE": "audience",
        "TLS_CERTIFICATE_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "LOG_LEVEL": "DEBUG",
    }
    environment = {**os.environ, **{f"FUNNELS_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "services.funnels"]
    with log.open("ab") as output:
        subprocess.run([*command, "migrate"], env=environment, stderr=output, check=False)
        process = subprocess.Popen(command, env=environment, stderr=output)
        try:
            eventually(lambda: b"health changed" in log.read_bytes(), log.read_text)
            for opened in (grpc.insecure_channel(address), grpc.secure_channel(address, stranger)):
                with opened as channel:  # without TLS, and with an authority that nobody here knows
                    every_rpc.outcome(channel, "/brain.audit.v1.AuditService/ListAuditEntries", "x", b"")
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
