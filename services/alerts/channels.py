"""The channels that the settings tell how to use, and what their recipients must look like."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts.notify import guard
from services.alerts.notify.alertmanager import Alertmanager
from services.alerts.notify.email import Email, Smtp, is_address
from services.alerts.notify.http import HttpPoster
from services.alerts.notify.slack import Slack
from services.alerts.notify.sms import Sms, is_number
from services.alerts.notify.webhook import Webhook, parse_secret
from services.alerts.plan import ChannelKind, Recipient
from services.alerts.store.recipients import normalised
from shared.validation import chosen

if TYPE_CHECKING:
    from brain.alerts.v1 import definition_pb2 as pb

    from services.alerts.config import AlertsSettings
    from services.alerts.notify.guard import Network
    from services.alerts.pipeline import Channel
    from shared.validation import Violations

MAXIMUM_RECIPIENTS = 50
_PROBES_AT_ONCE = 10
_WITHOUT_URL = {ChannelKind.EMAIL, ChannelKind.SMS}
_KINDS = {kind.value: kind for kind in ChannelKind}


def open_channels(settings: "AlertsSettings", now: Callable[[], float]) -> "Mapping[ChannelKind, Channel]":
    """Return what the settings know how to use."""
    poster = HttpPoster(settings.networks, now)
    key = settings.webhook_secret and parse_secret(settings.webhook_secret.get_secret_value())
    channels: dict[ChannelKind, Channel] = {
        ChannelKind.SLACK: Slack(poster),
        ChannelKind.WEBHOOK: Webhook(poster, key or None),
        ChannelKind.ALERTMANAGER: Alertmanager(poster),
    }
    if settings.smtp_address is not None and settings.smtp_sender is not None:
        host, _, port = settings.smtp_address.rpartition(":")
        channels[ChannelKind.EMAIL] = Email(
            Smtp(
                host.strip("[]"),
                int(port),
                settings.smtp_tls,
                settings.smtp_user,
                settings.smtp_password,
                settings.smtp_sender,
            )
        )
    if settings.sms_account and settings.sms_token and settings.sms_sender:
        channels[ChannelKind.SMS] = Sms(
            poster, str(settings.sms_base_url), settings.sms_account, settings.sms_token, settings.sms_sender
        )
    return channels


@dataclass(frozen=True)
class RecipientChecks:
    """Reads recipients of definitions, looking URLs up."""

    usable: "Sequence[ChannelKind]"
    networks: "Sequence[Network]"
    slack_base_url: str

    def read(self, violations: "Violations", channels: "Sequence[pb.Channel]") -> list[Recipient]:
        """Return the recipients in order; the caller raises."""
        recipients: list[Recipient] = []
        kinds: set[ChannelKind] = set()
        for index, channel in enumerate(channels):
            field = f"definition.channels[{index}]"
            kind = chosen(violations, f"{field}.kind", channel.kind, _KINDS)
            if kind in kinds:
                violations.add(f"{field}.kind", "is there twice")
            elif channel.kind in _KINDS and kind not in self.usable:
                violations.add(f"{field}.kind", "the settings of this service do not say how")
            kinds.add(kind)
            if not 1 <= len(channel.recipients) <= MAXIMUM_RECIPIENTS:
                violations.add(f"{field}.recipients", f"1 to {MAXIMUM_RECIPIENTS} are required")
                continue
            recipients += self._recipients(violations, field, kind, channel.recipients)
        return recipients

    def warnings(self, recipients: "Sequence[Recipient]") -> list[str]:
        """Return which receivers of HTTP do not take a connection now."""
        urls = [each.address for each in recipients if each.channel not in _WITHOUT_URL]
        if not urls:
            return []
        with ThreadPoolExecutor(_PROBES_AT_ONCE) as pool:
            found = list(pool.map(lambda url: guard.unreachable(url, self.networks), urls))
        return [problem for problem in found if problem is not None]

    def _recipients(
        self,
        violations: "Violations",
        field: str,
        kind: ChannelKind,
        addresses: "Sequence[str]",
    ) -> list[Recipient]:
        seen: set[str] = set()
        for place, address in enumerate(addresses):
            path = f"{field}.recipients[{place}]"
            if normalised(address) in seen:
                violations.add(path, "is there twice")
            seen.add(normalised(address))
            problem = self._problem(kind, address)
            if problem is not None:
                violations.add(path, problem)
        return [Recipient(kind, address.strip()) for address in addresses]

    def _problem(self, kind: ChannelKind, address: str) -> str | None:
        if kind is ChannelKind.EMAIL:
            return None if is_address(address) else "must be a mail address"
        if kind is ChannelKind.SMS:
            return None if is_number(address) else "must be a number as +4915112345678"
        if kind is ChannelKind.SLACK and not address.startswith(self.slack_base_url):
            return f"must begin with {self.slack_base_url}"
        try:
            guard.resolve(address, self.networks)
        except guard.ForbiddenError as error:
            return str(error)
        except guard.UnresolvedError:
            return None  # a warning: it may come back
        return None
