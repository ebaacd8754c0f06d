"""deploy/compose.yaml fits its schema, the settings of every service, and the files it mounts."""

import json
import shlex
import shutil
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy import postgres, secret_files
from services.events.config import EventsSettings
from shared.config import ServiceSettings, database_address
from shared.healthcheck import local_address
from shared.server import ENDING_SECONDS
from tests.deploy.images import told_settings
from tests.deploy.images.dockerfile import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
SERVICES = secret_files.SERVICES
OURS = (*SERVICES, "gateway")


@cache
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def secrets(scratch_directory: Path) -> Path:
    directory = scratch_directory / "secrets"
    assert secret_files.main([str(directory)]) == 0
    return directory


def variables(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def told(service: str, secrets: Path) -> dict[str, str]:
    """What compose tells a service, with this machine's paths for those it mounts."""
    entry = compose()["services"][service]
    assert entry["env_file"] == f"secrets/{service}.env"
    both = entry["environment"] | variables(secrets / f"{service}.env")
    mounted = {f"/run/secrets/{name}": str(secrets / name) for name in entry["secrets"]}
    mounted |= {volume.split(":")[1]: str(secrets) for volume in entry.get("volumes", [])}
    return {name: mounted.get(value, value) for name, value in both.items()}


def test_it_fits_the_schema_of_compose_files() -> None:
    text = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    jsonschema.validate(compose(), json.loads(text))


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting_and_all_that_are_required_are_given(service: str, secrets: Path) -> None:
    settings = told_settings.parse(service, told(service, secrets))
    # Others in the network reach it, and so does its own health check.
    for address in (settings.address, settings.metrics_address):
        assert local_address(address) != address
    if isinstance(settings, ServiceSettings):
        assert settings.database_schema == service
        assert settings.database_url.startswith(f"postgresql://{service}:")
    entry = compose()["services"][service]
    published = {port.rpartition(":")[2] for port in entry["ports"]}
    assert settings.address.rpartition(":")[2] in published
    assert all(port.startswith("127.0.0.1:") for port in entry["ports"])


@pytest.mark.parametrize("service", OURS)
def test_it_asks_others_where_they_listen(service: str, secrets: Path) -> None:
    listening = {
        f"dns:///{name}:{compose()['services'][name]['environment'][f'{name.upper()}_ADDRESS'].rpartition(':')[2]}"
        for name in SERVICES
    }
    asked = [word for value in told(service, secrets).values() for word in value.replace('"', " ").split()]
    assert {word.rstrip(",}") for word in asked if word.startswith("dns:///")} <= listening


@pytest.mark.parametrize("service", OURS)
def test_nobody_may_write_or_gain_rights_and_draining_has_time(service: str) -> None:
    entry = compose()["services"][service]
    assert entry["build"]["args"] == {"SERVICE": service}
    assert (entry["read_only"], entry["cap_drop"]) == (True, ["ALL"])
    assert entry["security_opt"] == ["no-new-privileges:true"]
    drain = EventsSettings.model_fields["drain_seconds"].default
    assert int(entry["stop_grace_period"].removesuffix("s")) > drain + ENDING_SECONDS
    assert ("database" in entry["networks"]) == (service != "gateway")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_the_database_and_migrates_first(service: str) -> None:
    entry = compose()["services"][service]
    assert entry["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    shell, flag, script = shlex.split(entry["command"])
    assert (shell, flag) == ("sh", "-c")
    module = f"python -m services.{service}"
    assert script == f"{module} migrate && exec {module}"


def test_every_mounted_secret_is_made_and_can_be_read_in_a_container(secrets: Path) -> None:
    named = compose()["secrets"]
    used = {name for entry in compose()["services"].values() for name in entry.get("secrets", [])}
    assert set(named) == used
    for name, source in named.items():
        assert source == {"file": f"secrets/{name}"}
        assert (secrets / name).stat().st_mode & 0o777 == 0o644
    assert secrets.stat().st_mode & 0o777 == 0o700
    hidden = {path.name for path in secrets.iterdir()} - set(named)
    assert all((secrets / name).stat().st_mode & 0o077 == 0 for name in hidden)


def test_mounted_files_of_the_checkout_exist() -> None:
    mounts = [one for entry in compose()["services"].values() for one in entry.get("volumes", [])]
    sources = [one.split(":")[0] for one in mounts if one.startswith(".")]
    assert [source for source in sources if not (DEPLOY / source).exists()] == []
    assert len(sources) == 5


def test_secrets_are_made_once(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert secret_files.main([str(secrets)]) == 0
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("db.example", "@db.example:5432/brain?sslmode=require"),
        ("db.example:6432", "@db.example:6432/brain?sslmode=require"),
        ("[fd00::1]", "@[fd00::1]:5432/brain?sslmode=require"),
        ("[fd00::1]:6432", "@[fd00::1]:6432/brain?sslmode=require"),
    ],
)
def test_services_are_told_where_the_database_is_anew_and_keep_their_keys(
    secrets: Path, tmp_path: Path, host: str, told: str
) -> None:
    directory = tmp_path / "secrets"
    shutil.copytree(secrets, directory)
    before = variables(directory / "events.env")
    arguments = [str(directory), "--database-host", host, "--database", "brain?sslmode=require"]
    assert secret_files.main(arguments) == 0
    after = variables(directory / "events.env")
    url = database_address(after.pop("EVENTS_DATABASE_URL"))
    assert url == before.pop("EVENTS_DATABASE_URL").partition("@")[0] + told
    assert after == before


def test_postgresql_is_told_what_the_one_machine_run_tells_it() -> None:
    command = compose()["services"]["postgres"]["command"]
    given = dict(word.removeprefix("-c").split("=") for word in command[1:])
    assert given.items() <= postgres.SETTINGS.items()
    guard = int(compose()["services"]["events"]["environment"]["EVENTS_MINIMUM_FREE_BYTES"])
    assert guard == 2 * int(given["max_wal_size"].removesuffix("GB")) * 1024**3
