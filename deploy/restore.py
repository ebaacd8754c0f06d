"""Put a backup in the place of what the one-machine run holds: `python -m deploy.restore DIRECTORY`.

It is read into a database beside the present one, told of everybody who was erased since, and only then takes
its place: whoever is killed before leaves things as they were.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

import deploy.postgres
from deploy import backup, keys, locks, settings
from deploy.backup import DUMP, MANIFEST
from deploy.errors import LaunchError
from deploy.postgres import EmbeddedPostgres
from deploy.rolling import RESTART_LOCK, SUITE_LOCK
from deploy.settings import LocalSettings, Service
from deploy.suite import DATABASE, journal_of, make_directory
from shared import migrations, tombstone_table
from shared.calendar import to_micros
from shared.tombstones import ErasureMode, Journal, Tombstone

_PAGE = 10_000
NEW, OLD = "brain_restored", "brain_replaced"


def main() -> int:
    """Restore; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.restore")
    parser.add_argument("directory", type=Path, help="what `python -m deploy.backup` wrote")
    parser.add_argument("--replace", action="store_true", help="the present data are given up for it")
    parser.add_argument(
        "--tombstones",
        type=Path,
        action="append",
        default=[],
        help="what `brain privacy tombstones export` printed: who was erased since",
    )
    given = parser.parse_args()
    os.umask(0o077)
    try:
        chosen = settings.load().model_copy(update={"replicas": 1})  # one process each does what is to do
        restore(chosen, given.directory.resolve(), given.tombstones, replace=given.replace)
    except LaunchError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def restore(chosen: LocalSettings, source: Path, exports: Sequence[Path], *, replace: bool) -> None:
    """Restore a backup; raise LaunchError, after which everything is as it was."""
    directory = chosen.directory.resolve()
    make_directory(directory)
    with ExitStack() as held:
        held.callback(os.close, locks.take(directory / RESTART_LOCK, "a restart or a restore"))
        held.callback(os.close, locks.take(directory / SUITE_LOCK, "the suite of this directory"))
        secrets = keys.read_variables(directory / keys.SECRETS)
        _check_keys(source, secrets, directory, chosen)
        told = _exported(exports, chosen)
        server = deploy.postgres.start(directory / "postgres")
        held.callback(server.close)
        _Restoring(chosen, directory, server, secrets).run(source, told, replace=replace)


def _check_keys(source: Path, secrets: Mapping[str, str], directory: Path, chosen: LocalSettings) -> None:
    try:
        written = json.loads((source / MANIFEST).read_text())["keys"]
    except (OSError, ValueError, KeyError):
        raise LaunchError(f"{source} is no backup that `python -m deploy.backup` finished") from None
    kept = directory / keys.SECRETS
    if not secrets:
        raise LaunchError(f"{kept} is missing: put the one back that belongs to the backup")
    present = backup.key_prints(secrets, [service.name for service in chosen.services()])
    for service, (index, *hashes) in written.items():
        found = present.get(service, [""])
        if found[0] != index or not set(hashes) <= set(found[1:]):
            raise LaunchError(
                f"{kept} holds other keys of {service} than this backup was written with: "
                "put the file back that belongs to it"
            )


def _exported(files: Iterable[Path], chosen: LocalSettings) -> dict[str, list[Tombstone]]:
    """Return what exports hold, by the names of services: they name them by their addresses."""
    names = {service.address: service.name for service in chosen.services()}
    told: dict[str, list[Tombstone]] = {name: [] for name in names.values()}
    for path in files:
        try:
            for line in filter(str.strip, path.read_text().splitlines()):
                record = json.loads(line)
                first_replica = record["service"].partition(",")[0]
                told[names[first_replica]].append(_tombstone(record))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LaunchError(f"{path} is no export of the tombstones of this suite: {error!r}") from None
    return told


def _tombstone(record: Mapping[str, str]) -> Tombstone:
    mode = ErasureMode[record["mode"].upper()]
    erased = to_micros(datetime.fromisoformat(record["erased_time"]))
    return Tombstone(bytes.fromhex(record["who_digest"]), erased, mode)


@dataclass(frozen=True)
class _Restoring:
    """The steps, on a server of ours that nobody else uses."""

    chosen: LocalSettings
    directory: Path
    server: EmbeddedPostgres
    secrets: Mapping[str, str]

    def run(self, source: Path, told: Mapping[str, Sequence[Tombstone]], *, replace: bool) -> None:
        """Restore beside, tell of erasures, swap."""
        held = self._exists(DATABASE)
        if held and not replace:
            raise LaunchError(f"{self.directory} holds data: --replace gives them up for the backup")
        for service in self.chosen.services():
            present = self._buried(service.name) if held else []
            journal = Journal(journal_of(self.directory, service.name))
            journal.append([*present, *told[service.name]])
        for left in (NEW, OLD):  # by one that was interrupted
            self._drop(left)
        self.server.create_database(NEW)
        for service in self.chosen.services():
            self.server.create_role(service.name)
        connection = backup.connection_of(self.server)
        backup.run("pg_restore", ["--exit-on-error", str(source / DUMP)], connection, NEW)
        with self.server.connect(NEW) as restored:
            restored.execute("VACUUM (ANALYZE)")  # index-only scans and plans need what a dump does not hold
        for service in self.chosen.services():
            self._forget(service)
        self._swap(replaces=held)
        print(f"Restored from {source}. `make up` serves it.")

    def _buried(self, schema: str) -> list[Tombstone]:
        """Return whom the present database knows to be erased; none where it has no such table yet."""
        found: list[Tombstone] = []
        with self.server.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
            with suppress(psycopg.errors.UndefinedTable):
                while page := tombstone_table.buried(cursor, found[-1].who_digest if found else b"", _PAGE):
                    found += page
        return found

    def _forget(self, service: Service) -> None:
        """Bring a restored schema up to date, and have its service erase whom its journal names."""
        name, journal = service.name, journal_of(self.directory, service.name)
        url = self.server.url(NEW, name)
        migrations.upgrade(url, name, service.module)
        told = {
            "DATABASE_URL": url,
            "DATABASE_SCHEMA": name,
            "AUTH": "off",  # it is started on a port that nobody knows, and ends at once
            **dict.fromkeys(service.more_addresses, "127.0.0.1:0"),
        }
        prefix = f"{name.upper()}_"
        own = {key: value for key, value in self.secrets.items() if key.startswith(prefix)}
        environment = {**os.environ, **own, **{f"{prefix}{key}": value for key, value in told.items()}}
        command = [sys.executable, "-m", service.module, "forget", str(journal)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LaunchError(f"{name} could not forget whom it should:\n{done.stdout}{done.stderr}")

    def _swap(self, *, replaces: bool) -> None:
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with self.server.connect() as connection, connection.transaction():
            if replaces:
                connection.execute(rename.format(sql.Identifier(DATABASE), sql.Identifier(OLD)))
            connection.execute(rename.format(sql.Identifier(NEW), sql.Identifier(DATABASE)))
        self._drop(OLD)

    def _exists(self, database: str) -> bool:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        with self.server.connect() as connection:
            return connection.execute(query, [database]).fetchone() is not None

    def _drop(self, database: str) -> None:
        with self.server.connect() as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(database)))


if __name__ == "__main__":
    sys.exit(main())
