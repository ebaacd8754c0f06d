"""Keys and tokens of the one-machine run, made once and kept in `.brain/`."""

import base64
import os
import secrets
import time
from pathlib import Path

from deploy.errors import LaunchError
from shared.auth import Role, generate_keys, mint_token

PRIVATE_KEY = "token_private_key.pem"
PUBLIC_KEY = "token_public_key.pem"
SECRETS = "secrets.env"
WRITE_KEYS = "GATEWAY_WRITE_KEYS"
SOURCE = "local"
TOKEN_ROLES = {"ingest": Role.INGEST, "admin": Role.ADMIN}
# Of services that ask others; nobody else needs them, so they are not told.
SERVICE_ROLES = dict.fromkeys(("alerts", "experiments", "forecasting", "funnels"), Role.ANALYST)


def ensure_secrets(directory: Path, services: list[str], *, data_exists: bool) -> dict[str, str]:
    """Return <SERVICE>_ENCRYPTION_KEYS and <SERVICE>_BLIND_INDEX_KEY of each service, and the gateway's own.

    Whatever is missing is made.

    Raises LaunchError if the file is gone while data exist: new keys would lock everyone out of them.
    """
    path = directory / SECRETS
    if data_exists and not path.exists():
        raise LaunchError(
            f"{path} is missing, and without it the stored user ids cannot be read. "
            f"Put it back from a backup, or remove {directory} to begin anew without data."
        )
    known = read_variables(path)
    made = {
        f"{service.upper()}_{name}": value
        for service in services
        for name, value in (("ENCRYPTION_KEYS", f"1:{random_key()}"), ("BLIND_INDEX_KEY", random_key()))
    }
    made |= {"GATEWAY_SECRET": random_key(), WRITE_KEYS: f"{SOURCE}:{secrets.token_hex(16)}"}
    if made.keys() - known.keys():
        known = made | known
        write(path, "".join(f"{name}={value}\n" for name, value in known.items()))
    return known


def write_key(secrets_of_suite: dict[str, str]) -> str:
    """Return the first of the gateway's write keys, which senders of other products use."""
    return secrets_of_suite[WRITE_KEYS].partition(",")[0].partition(":")[2]


def ensure_tokens(directory: Path) -> dict[str, str]:
    """Return a token for each of `ingest` and `admin`, and make those and the key pair where missing."""
    if not (directory / PUBLIC_KEY).exists():
        private_pem, public_pem = generate_keys()
        write(directory / PRIVATE_KEY, private_pem.decode())
        write(directory / PUBLIC_KEY, public_pem.decode())
        for name in (*TOKEN_ROLES, *SERVICE_ROLES):  # of an older pair, worthless now
            (directory / f"{name}.token").unlink(missing_ok=True)
    for name, role in SERVICE_ROLES.items():
        ensure_token(directory, name, role)
    return {name: ensure_token(directory, name, role) for name, role in TOKEN_ROLES.items()}


def ensure_token(directory: Path, name: str, role: Role) -> str:
    """Return the token kept in `<name>.token`, minted without an end where missing."""
    path = directory / f"{name}.token"
    if not path.exists():
        private_pem = (directory / PRIVATE_KEY).read_bytes()
        write(path, mint_token(private_pem, f"local-{name}", [role], None, time.time()) + "\n")
    return path.read_text().strip()


def random_key() -> str:
    """Return 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def read_variables(path: Path) -> dict[str, str]:
    """Read NAME=value lines; {} if there is no such file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines)


def write(path: Path, content: str) -> None:
    """Write a file for its owner alone, all or nothing, also through a power cut."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
