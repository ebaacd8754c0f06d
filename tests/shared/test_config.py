import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic_settings import SettingsConfigDict

from shared import config
from shared.config import ServiceSettings
from tests.shared.conftest import KEY


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    address: str = "127.0.0.1:50099"
    metrics_address: str = "127.0.0.1:9199"
    database_schema: str = "sample"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, public_key_file: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "postgresql://user:hunter2@db/brain")
    monkeypatch.setenv("SAMPLE_TOKEN_PUBLIC_KEY_FILE", str(public_key_file))
    monkeypatch.setenv("SAMPLE_ENCRYPTION_KEYS", f"1:{KEY}")
    monkeypatch.setenv("SAMPLE_BLIND_INDEX_KEY", KEY)
    return monkeypatch


def problems(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        config.load(SampleSettings)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAMPLE_REPORTING_TIME_ZONE", "Europe/London")
    environment.setenv("SAMPLE_MAX_WORKERS", "3")
    settings = config.load(SampleSettings)
    assert (settings.max_workers, settings.reporting_time_zone) == (3, ZoneInfo("Europe/London"))
    assert settings.auth == "token"


def test_settings_do_not_print_secrets(environment: pytest.MonkeyPatch) -> None:
    text = repr(config.load(SampleSettings))
    assert "hunter2" not in text
    assert KEY not in text


def test_all_problems_are_told_at_once_by_the_names_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAMPLE_MAX_WORKERS", "0")
    monkeypatch.setenv("SAMPLE_REPORTING_TIME_ZONE", "Mars/Olympus")
    monkeypatch.setenv("SAMPLE_ENCRYPTION_KEYS", f"1:{KEY}x")
    told = problems(capsys)
    for name in ("DATABASE_URL", "MAX_WORKERS", "REPORTING_TIME_ZONE", "ENCRYPTION_KEYS", "BLIND_INDEX_KEY"):
        assert f"SAMPLE_{name}: " in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"TOKEN_PUBLIC_KEY_FILE": None}, "exactly one of token_public_key_file and jwks_url"),
        ({"JWKS_URL": "https://id.example/keys"}, "exactly one of token_public_key_file and jwks_url"),
        ({"TOKEN_PUBLIC_KEY_FILE": None, "JWKS_URL": "https://id.example/keys"}, "need each other"),
        (
            {"TOKEN_PUBLIC_KEY_FILE": None, "JWKS_URL": "https://id.example/keys", "JWKS_ISSUER": "x"},
            "need each other",
        ),
        ({"JWKS_AUDIENCE": "x"}, "need each other"),
        ({"AUTH": "off"}, "auth=off has no use for"),
        ({"AUTH": "maybe"}, "SAMPLE_AUTH: "),
        ({"TOKEN_PUBLIC_KEY_FILE": "/no/such/file"}, "SAMPLE_TOKEN_PUBLIC_KEY_FILE: "),
        ({"TLS_KEY_FILE": __file__}, "need each other"),
        ({"TLS_CLIENT_CA_FILE": __file__}, "tls_client_ca_file needs"),
        ({"DATABASE_SCHEMA": 'x"; DROP'}, "SAMPLE_DATABASE_SCHEMA: "),
        ({"DATABASE_URL": "mysql://x"}, "SAMPLE_DATABASE_URL: "),
        ({"DATABASE_URL": "postgresql://user:hun@ter2@db/brain"}, "with an @ in these as %40"),
        ({"DATABASE_URL": "postgresql://user:hunter2@db:x/brain"}, "SAMPLE_DATABASE_URL: "),
        ({"MAXIMUM_STREAMS": "16"}, "maximum_streams must be less than max_workers"),
    ],
)
def test_combinations_that_cannot_work_are_refused(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    complaint: str,
) -> None:
    for name, value in changes.items():
        if value is None:
            environment.delenv(f"SAMPLE_{name}")
        else:
            environment.setenv(f"SAMPLE_{name}", value)
    told = problems(capsys)
    assert complaint in told
    assert "ter2" not in told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:a/b?c#d:e%40@db:5432/brain?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://u:p@/brain?host=/run/postgresql&port=5432",
        "postgres://u@[::1]:5432/brain",
        "postgresql://db/brain",
    ],
)
def test_urls_of_databases_are_whatever_names_a_role_and_a_host(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    environment.setenv("SAMPLE_DATABASE_URL", url)
    assert config.load(SampleSettings).database_url == url


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "host:port", "host:65536", "host:-1"])
def test_addresses_are_host_and_port(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    environment.setenv("SAMPLE_METRICS_ADDRESS", address)
    assert "SAMPLE_METRICS_ADDRESS: " in problems(capsys)


def test_time_zones_are_those_of_the_pinned_package(tmp_path: Path) -> None:
    tokyo = files("tzdata.zoneinfo.Asia").joinpath("Tokyo").read_bytes()
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "London").write_bytes(tokyo)
    program = """
import sys
from datetime import datetime
from zoneinfo import ZoneInfo
if "config" in sys.argv:
    import shared.config
print(datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/London")).utcoffset())
"""
    told = [
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONTZPATH": str(tmp_path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for arguments in ([], ["config"])
    ]
    assert told == ["9:00:00\n", "0:00:00\n"], "without, the files of the machine are preferred"
