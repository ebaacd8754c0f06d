"""What the commands share: where the service is, and how texts of the command line become values."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import grpc

from brain_client.client import Brain
from shared.clients import Tls, channel

_LOCAL = Path(".brain")


@dataclass(frozen=True)
class Target:
    """The service to talk to."""

    address: str
    token: str | None
    tls: Tls | None

    def connect(self, role: str) -> Brain:
        """Return a client with the given token, else the one that the local run made for this role."""
        return Brain(self.address, self.token_for(role), tls=self.tls)

    def token_for(self, role: str) -> str:
        """Return the given token, else the one that the local run made for this role."""
        return self.token or _local_token(role)

    def channel(self, address: str, role: str) -> grpc.Channel:
        """Return a channel to any service, with the token that connect() would use."""
        return channel(address, self.token or _local_token(role), tls=self.tls)


def _local_token(role: str) -> str:
    path = _LOCAL / f"{role}.token"
    if not path.exists():
        raise click.UsageError(f"no token: give --token or BRAIN_TOKEN ({path} does not exist)")
    return path.read_text().strip()


def pairs(items: Iterable[str], option: str) -> dict[str, str]:
    """Split NAME=VALUE texts."""
    split = [item.partition("=") for item in items]
    for name, equals, _ in split:
        if not (name and equals):
            raise click.UsageError(f"{option} takes NAME=VALUE, not {name!r}")
    return {name: value for name, _, value in split}


def typed(text: str) -> str | float | bool:
    """Read what is a JSON number or boolean as such, anything else as text; '"6"' is the text 6."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone; "" is UTC."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.UsageError(f"unknown time zone {name!r}") from None


def moment(text: str, time_zone: str = "") -> datetime:
    """Read ISO 8601; without an offset it is a time of the zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"times are ISO 8601, for instance 2026-03-01 or 2026-03-01T12:00Z, not {text!r}"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=zone(time_zone)).astimezone(UTC)
