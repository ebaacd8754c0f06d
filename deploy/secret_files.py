"""Secrets of a suite in containers, one file for each purpose: `python -m deploy.secret_files DIRECTORY`.

The directory is closed to other users. Files that containers mount may be read by all, since a container's
user is nobody the host knows; the directory keeps everyone else out.
"""

import argparse
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy import keys
from deploy.errors import LaunchError

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")
SUPERUSER = "postgres"
GRAFANA = "grafana"
_PORT = 5432


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing in the directory; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.secret_files", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--database-host", default="postgres", help="of the URLs that services are told, or host:port"
    )
    parser.add_argument("--database", default="brain", help="its name, and ?options of libpq")
    chosen = parser.parse_args(arguments)
    try:
        make(chosen.directory, f"{_with_port(chosen.database_host)}/{chosen.database}")
    except (OSError, LaunchError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.directory} holds every secret. Back up secrets.env: without it ids cannot be read.")
    return 0


def make(directory: Path, database: str) -> None:
    """Write passwords, tokens and their keys where they are missing, and <service>.env of what is there.

    `database` is host:port/name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    made = keys.ensure_secrets(directory, list(SERVICES), data_exists=False)
    tokens = keys.ensure_tokens(directory)
    passwords = {name: _password(directory, name) for name in (*SERVICES, SUPERUSER, GRAFANA)}
    for service in SERVICES:
        url = f"postgresql://{service}:{passwords[service]}@{database}"
        _write_variables(directory, service, {f"{service.upper()}_DATABASE_URL": url}, made)
    _write_variables(directory, "gateway", {"GATEWAY_INGEST_TOKEN": tokens["ingest"]}, made)
    for name in (keys.PUBLIC_KEY, *(f"{one}.token" for one in keys.SERVICE_ROLES)):
        (directory / name).chmod(0o644)


def _with_port(host: str) -> str:
    is_told = ":" in host.rpartition("]")[2]  # behind an IPv6 address
    return host if is_told else f"{host}:{_PORT}"


def _password(directory: Path, name: str) -> str:
    path = directory / f"{name}.password"
    if not path.exists():
        keys.write(path, secrets.token_urlsafe(24) + "\n")
        path.chmod(0o644)
    return path.read_text().strip()


def _write_variables(
    directory: Path, service: str, own: Mapping[str, str], every_secret: Mapping[str, str]
) -> None:
    prefix = f"{service.upper()}_"
    chosen = {**own, **{name: value for name, value in every_secret.items() if name.startswith(prefix)}}
    keys.write(directory / f"{service}.env", "".join(f"{name}={value}\n" for name, value in chosen.items()))


if __name__ == "__main__":
    sys.exit(main())
