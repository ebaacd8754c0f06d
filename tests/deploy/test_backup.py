"""What a backup and its restoring refuse, before anything is touched."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

import deploy.postgres
from deploy import backup, keys, locks, rolling
from deploy.errors import LaunchError
from deploy.restore import NEW, OLD, restore
from deploy.settings import LocalSettings

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")


@pytest.fixture
def chosen(tmp_path: Path) -> LocalSettings:
    return LocalSettings(directory=tmp_path / "brain")


@pytest.fixture
def secrets(chosen: LocalSettings) -> dict[str, str]:
    chosen.directory.mkdir()
    return keys.ensure_secrets(chosen.directory, list(SERVICES), data_exists=False)


def written(source: Path, secrets: Mapping[str, str]) -> Path:
    """A backup as far as its keys are looked at."""
    source.mkdir()
    manifest = {"created": "", "keys": backup.key_prints(secrets, SERVICES)}
    (source / backup.MANIFEST).write_text(json.dumps(manifest))
    return source


def test_a_backup_is_written_over_nothing(chosen: LocalSettings, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=f"{tmp_path} exists"):
        backup.create(chosen, tmp_path)


def test_what_an_interrupted_backup_left_is_told(chosen: LocalSettings, secrets: dict[str, str]) -> None:
    (chosen.directory / "postgres").mkdir()
    target = chosen.directory.with_name("monday")
    target.with_name("monday.unfinished").mkdir()
    with pytest.raises(LaunchError, match=r"monday\.unfinished exists, left by an interrupted backup"):
        backup.create(chosen, target)


def test_a_server_that_is_just_being_started_is_told_and_nothing_is_left(
    chosen: LocalSettings, secrets: dict[str, str]
) -> None:
    (chosen.directory / "postgres").mkdir()
    held = locks.take(chosen.directory / "postgres.lock", "a test")
    for _ in range(2):
        with pytest.raises(LaunchError, match="try again in a moment"):
            backup.create(chosen, chosen.directory.with_name("monday"))
    os.close(held)


def test_a_place_that_cannot_be_written_to_is_told_without_a_trace(
    chosen: LocalSettings, secrets: dict[str, str]
) -> None:
    data = chosen.directory / "postgres"
    data.mkdir()
    (data / "postmaster.pid").write_text("1\n.\n0\n5432\n/nowhere\n\n")
    (chosen.directory / "postgres.password").touch()
    held = locks.take(chosen.directory / "postgres.lock", "a test")
    told = {"BRAIN_DIRECTORY": str(chosen.directory), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "deploy.backup", str(chosen.directory / keys.SECRETS / "monday")]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr
    os.close(held)


def test_without_data_there_is_no_backup(chosen: LocalSettings, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no data"):
        backup.create(chosen, tmp_path / "backup")


def test_a_backup_says_whose_keys_it_needs_and_leads_to_none(secrets: dict[str, str], tmp_path: Path) -> None:
    manifest = (written(tmp_path / "backup", secrets) / backup.MANIFEST).read_text()
    for value in secrets.values():
        assert value.partition(":")[2] not in manifest or ":" not in value
        assert value not in manifest


def test_a_directory_that_is_no_finished_backup_is_refused(
    chosen: LocalSettings, secrets: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(LaunchError, match="is no backup"):
        restore(chosen, tmp_path, [], replace=True)
    assert not (chosen.directory / "postgres").exists()


def test_keys_that_cannot_read_the_backup_are_refused(
    chosen: LocalSettings, secrets: dict[str, str], tmp_path: Path
) -> None:
    source = written(tmp_path / "backup", secrets)
    kept = chosen.directory / keys.SECRETS
    kept.unlink()
    with pytest.raises(LaunchError, match=r"secrets\.env is missing"):
        restore(chosen, source, [], replace=True)
    others = keys.ensure_secrets(chosen.directory, list(SERVICES), data_exists=False)
    with pytest.raises(LaunchError, match="holds other keys of events"):
        restore(chosen, source, [], replace=True)
    rotated = {**others, **{key: value for key, value in secrets.items() if key.endswith("INDEX_KEY")}}
    rotated["EVENTS_ENCRYPTION_KEYS"] = f"2:{keys.random_key()}"  # without the one before
    kept.write_text("".join(f"{key}={value}\n" for key, value in rotated.items()))
    with pytest.raises(LaunchError, match="holds other keys of events"):
        restore(chosen, source, [], replace=True)
    assert not (chosen.directory / "postgres").exists()


def test_what_an_interrupted_restore_left_is_no_hindrance(
    chosen: LocalSettings, secrets: dict[str, str], tmp_path: Path
) -> None:
    source = written(tmp_path / "backup", secrets)  # and no dump: it ends there
    data = chosen.directory / "postgres"
    with closing(deploy.postgres.start(data, durable=False)) as server:
        for left in (NEW, OLD):
            server.create_database(left)
    with pytest.raises(LaunchError, match="pg_restore failed"):
        restore(chosen, source, [], replace=True)
    with closing(deploy.postgres.start(data, durable=False)) as server, server.connect() as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^brain'").fetchall()
        assert found == [(NEW,)]


def test_an_export_of_another_suite_is_refused(
    chosen: LocalSettings, secrets: dict[str, str], tmp_path: Path
) -> None:
    source, export = written(tmp_path / "backup", secrets), tmp_path / "export"
    line = {"who_digest": "00", "erased_time": "2026-01-01T00:00:00Z", "mode": "erase"}
    # The first is of this one, asked by the list of its replicas.
    services = ["127.0.0.1:50051,127.0.0.1:50061", "10.0.0.1:1"]
    export.write_text("\n".join(json.dumps({**line, "service": each}) for each in services))
    with pytest.raises(LaunchError, match=r"no export of the tombstones of this suite: .*'10\.0\.0\.1:1'"):
        restore(chosen, source, [export], replace=True)


def test_a_restart_does_not_come_in_the_way_of_a_restore(
    chosen: LocalSettings, secrets: dict[str, str], tmp_path: Path
) -> None:
    """It would signal who holds the suite's lock, and end it."""
    held = locks.take(chosen.directory / rolling.RESTART_LOCK, "a test")
    with pytest.raises(LaunchError, match="a restart or a restore already runs"):
        restore(chosen, tmp_path, [], replace=True)
    with pytest.raises(LaunchError, match="a restart or a restore already runs"):
        rolling.ask(chosen)
    os.close(held)
