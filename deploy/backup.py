"""Copy all data of the one-machine run, while it runs or not: `python -m deploy.backup DIRECTORY`.

One dump of the whole database, so that every service is as it was at one moment: numbers by which one knows
another's people must not be older in the one than in the other. `deploy.restore` reads it.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import deploy.postgres
from deploy import data_directories, keys, locks, settings
from deploy.errors import LaunchError
from deploy.postgres import EmbeddedPostgres
from deploy.settings import LocalSettings
from deploy.suite import DATABASE
from shared.encryption import BlindIndex, Keyring

DUMP, MANIFEST = "brain.dump", "manifest.json"


def main() -> int:
    """Write the backup; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.backup")
    parser.add_argument("directory", type=Path, help="where to write it; made, and must not exist")
    target = parser.parse_args().directory.resolve()
    os.umask(0o077)
    try:
        create(settings.load(), target)
    except (LaunchError, OSError) as error:  # of the place to write to: full, closed, or a file
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def create(chosen: LocalSettings, target: Path) -> None:
    """Write a backup to a new directory, all or nothing; raise LaunchError."""
    directory = chosen.directory.resolve()
    if target.exists():
        raise LaunchError(f"{target} exists: a backup is written to a directory of its own")
    if not (directory / "postgres").exists():
        raise LaunchError(f"there are no data in {directory}")
    services = [service.name for service in chosen.services()]
    prints = key_prints(keys.read_variables(directory / keys.SECRETS), services)
    unfinished = target.with_name(target.name + ".unfinished")
    if unfinished.exists():
        raise LaunchError(f"{unfinished} exists, left by an interrupted backup: remove it, or choose another")
    with server_of(directory / "postgres") as connection:
        unfinished.mkdir(parents=True, mode=0o700)
        run("pg_dump", ["--format=custom", f"--file={unfinished / DUMP}"], connection, DATABASE)
    manifest = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "keys": prints}
    keys.write(unfinished / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    unfinished.rename(target)
    size = (target / DUMP).stat().st_size / 1024**2
    print(f"Written: {target}, {size:.1f} MiB.")
    print(f"Without {directory / keys.SECRETS} nobody can read it: keep that file too, and elsewhere.")


def key_prints(secrets: Mapping[str, str], services: Sequence[str]) -> dict[str, list[str]]:
    """Return what tells the keys of each service from others and does not lead to them.

    What its blind index makes of a word, and a hash of each encryption key. Raises LaunchError.
    """
    prints = {}
    for service in services:
        prefix = service.upper()
        try:
            encryption = secrets[f"{prefix}_ENCRYPTION_KEYS"]
            index = BlindIndex.parse(secrets[f"{prefix}_BLIND_INDEX_KEY"])
            Keyring.parse(encryption)
        except (KeyError, ValueError) as error:
            raise LaunchError(f"{keys.SECRETS} has no good keys of {service}: {error}") from None
        hashes = [hashlib.sha256(entry.strip().encode()).hexdigest() for entry in encryption.split(",")]
        prints[service] = [index.digest("the keys of a backup").hex(), *hashes]
    return prints


@contextmanager
def server_of(data_directory: Path) -> Iterator[dict[str, str]]:
    """Yield how to reach the server of a data directory as its superuser; start it where it does not run."""
    try:
        lock = locks.take(data_directories.beside(data_directory, ".lock"), "this PostgreSQL")
    except LaunchError:
        yield running_server(data_directory)
        return
    os.close(lock)
    server = deploy.postgres.start(data_directory)
    try:
        yield connection_of(server)
    finally:
        server.close()


def running_server(data_directory: Path) -> dict[str, str]:
    """Return how to reach the server that another process runs, as the file of its process says.

    Raises LaunchError while it is starting, or was started again and does not say yet.
    """
    try:
        lines = (data_directory / "postmaster.pid").read_text().splitlines()
        port, socket_directory, host = lines[3:6]
    except (OSError, ValueError):
        raise LaunchError("PostgreSQL is just being started or stopped: try again in a moment") from None
    password = data_directories.beside(data_directory, ".password").read_text()
    return _variables(socket_directory or host, port, password)


def connection_of(server: EmbeddedPostgres) -> dict[str, str]:
    """Return how to reach a server of ours."""
    parts = urlsplit(server.url(DATABASE))
    host = parts.hostname or unquote(parts.query.partition("host=")[2].partition("&")[0])
    return _variables(host, str(parts.port or 5432), unquote(parts.password or ""))


def _variables(host: str, port: str, password: str) -> dict[str, str]:
    """In the environment: what stands on a command line, everybody may read."""
    return {"PGHOST": host, "PGPORT": port, "PGUSER": data_directories.SUPERUSER, "PGPASSWORD": password}


def run(program: str, arguments: Sequence[str], connection: Mapping[str, str], database: str) -> None:
    """Run a program of PostgreSQL; raise LaunchError with what it says where it fails."""
    command = [str(data_directories.binaries() / program), f"--dbname={database}", *arguments]
    environment = {**data_directories.ENVIRONMENT, **connection}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(f"{program} failed: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
