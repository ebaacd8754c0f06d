"""An alert as the worker uses it, and what was seen of its metric. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from services.alerts.condition import Policy
from services.alerts.holds import QuietHours
from services.alerts.judging import Rule
from services.alerts.windows import Grid


class ChannelKind(IntEnum):
    """How receivers are reached."""

    EMAIL = 1
    SLACK = 2
    SMS = 3
    WEBHOOK = 4
    ALERTMANAGER = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What an alert does, read from its definition."""

    name: str
    source: str
    metric: str
    # brain.metrics.v1.MetricQuery without its range: alerts with equal ones share what is read.
    query: bytes
    rule: Rule
    policy: Policy
    grid: Grid
    quiet_hours: tuple[QuietHours, ...]
    labels: Mapping[str, str]
    message: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody to tell: an address, a number or a URL."""

    channel: ChannelKind
    address: str


def masked(recipient: Recipient) -> str:
    """Return enough of an address to know it again, and too little to use it."""
    address = recipient.address
    if recipient.channel is ChannelKind.EMAIL:
        name, _, domain = address.partition("@")
        return f"{name[:1]}…@{domain}"
    if recipient.channel is ChannelKind.SMS:
        return f"{address[:3]}…{address[-2:]}"
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/…"


@dataclass(frozen=True, slots=True)
class Seen:
    """The window that was judged, in Unix microseconds, and its numbers."""

    start: int
    end: int
    value: float | None
    baseline: float | None
    compared: float | None
    sample: int
