import time
from pathlib import Path

import click

_SECONDS_PER_DAY = 86_400


@click.group()
def tokens() -> None:
    """Make access tokens. Needs the private key, and the server's packages."""


@tokens.command()
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(["ingest", "analyst", "admin"]),
    help="What the holder may do: track, read, everything. May be repeated.",
)
@click.option("--subject", required=True, help="Who holds it; stands in logs and in the audit log.")
@click.option("--days", type=click.IntRange(min=1), help="How long it holds; for ever where absent.")
@click.option(
    "--events-per-minute",
    type=click.IntRange(min=1),
    help="How many events the holder may send a minute; what the service's setting says where absent.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path(".brain/token_private_key.pem"),
    show_default=True,
    help="Ed25519 private key, PEM.",
)
def create(
    roles: tuple[str, ...], subject: str, days: int | None, events_per_minute: int | None, key: Path
) -> None:
    """Print a new token."""
    try:
        from shared.auth import Role, mint_token  # noqa: PLC0415 — the client alone comes without PyJWT
    except ImportError as error:
        raise click.ClickException(f"install analytics-brain[service] to make tokens ({error})") from error
    chosen = [Role[role.upper()] for role in roles]
    lifetime = days * _SECONDS_PER_DAY if days else None
    click.echo(mint_token(key.read_bytes(), subject, chosen, lifetime, time.time(), events_per_minute))
