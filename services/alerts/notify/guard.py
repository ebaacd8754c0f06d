"""Which addresses may be talked to: what is resolved once is what is connected to."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

MAXIMUM_URL = 2_000
_PROBE_SECONDS = 2.0
_SCHEMES = {"http": 80, "https": 443}

# Documentation (RFC 9637) and the identifiers of segment routing (RFC 9602).
_NOT_OF_THE_INTERNET = (ipaddress.ip_network("3fff::/20"), ipaddress.ip_network("5f00::/16"))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForbiddenError(ValueError):
    """A URL that is malformed, or leads where this service may not go; the message says which."""


class UnresolvedError(Exception):
    """A host that has no address now."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect: an address that was checked, and the name it was looked up by."""

    scheme: str
    host: str
    port: int
    ip: str
    # Path and query, beginning with a slash.
    target: str

    @property
    def authority(self) -> str:
        """The host and, where it is not the scheme's own, the port: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> tuple[SplitResult, str, int]:
    """Return the parts of a URL, its host and port; raise ForbiddenError."""
    if len(url) > MAXIMUM_URL:
        raise ForbiddenError(f"must be at most {MAXIMUM_URL} characters")
    if any(
        character.isspace() or not character.isprintable() or not character.isascii() for character in url
    ):
        raise ForbiddenError("must be ASCII without spaces and control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenError("is not a URL") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ForbiddenError("must be http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenError("must not hold a user name or password")
    if parts.fragment:
        raise ForbiddenError("must not hold a fragment")
    return parts, parts.hostname, port or _SCHEMES[parts.scheme]


def resolve(url: str, allowed: Sequence[Network]) -> Endpoint:
    """Look a URL's host up once; raise ForbiddenError unless all its addresses may be talked to.

    Those are the open internet's, and those in `allowed`.
    """
    parts, host, port = parse(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnresolvedError(f"{host} has no address") from None
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if not is_public(address) and not any(_bare(address) in network for network in allowed):
            raise ForbiddenError(
                f"leads to {address}, which is private or reserved: see ALERTS_ALLOWED_NETWORKS"
            )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme, host, port, addresses[0], target)


def unreachable(url: str, allowed: Sequence[Network]) -> str | None:
    """Return why nothing at a URL takes a connection now, None where something does.

    A host may lead elsewhere than when the URL was checked.
    """
    try:
        endpoint = resolve(url, allowed)
        socket.create_connection((endpoint.ip, endpoint.port), timeout=_PROBE_SECONDS).close()
    except (ForbiddenError, UnresolvedError) as error:
        return str(error)
    except OSError as error:
        return f"{endpoint.host}:{endpoint.port} takes no connection now: {error.strerror or error}"
    return None


def is_public(address: str) -> bool:
    """Return whether an address is one of the open internet."""
    ip = _bare(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
        # Known as private to some versions of Python alone.
        if ip.is_site_local or any(ip in network for network in _NOT_OF_THE_INTERNET):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _bare(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside 64:ff9b::/96 (RFC 6052)."""
    if ip not in ipaddress.ip_network("64:ff9b::/96"):
        return None
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
