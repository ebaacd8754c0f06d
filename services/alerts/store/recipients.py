"""Recipients: addresses to ids and back. The only place that sees both. Addresses are encrypted at rest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from services.alerts.plan import ChannelKind, Recipient
from shared.database import driver_cursor
from shared.encryption import EncryptedColumn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from shared.encryption import BlindIndex, Keyring

STORED_ADDRESSES = EncryptedColumn("recipients", "recipient_id", "address_hash", "address_encrypted")

# In one order for all writers: two that meet wait, and never for each other. What is there already is
# locked as if it changed: it may be about to be pruned.
_ADD = """
INSERT INTO recipients (channel, address_hash, address_encrypted)
SELECT channel, address_hash, address_encrypted
FROM unnest(%(channels)s::int2[], %(hashes)s::bytea[], %(encrypted)s::bytea[])
     AS given(channel, address_hash, address_encrypted)
ORDER BY channel, address_hash
ON CONFLICT ON CONSTRAINT recipients_channel_address_hash_key DO UPDATE SET channel = excluded.channel
"""

_SET = """
INSERT INTO alert_recipients (alert_key, position, channel, recipient_id)
SELECT %(alert_key)s, given.position, given.channel, recipients.recipient_id
FROM unnest(%(channels)s::int2[], %(hashes)s::bytea[])
     WITH ORDINALITY AS given(channel, address_hash, position)
JOIN recipients ON recipients.channel = given.channel AND recipients.address_hash = given.address_hash
"""

_CLEAR = text("DELETE FROM alert_recipients WHERE alert_key = :alert_key")

_OF_ALERTS = """
SELECT alert_key, channel, address_hash, address_encrypted
FROM alert_recipients JOIN recipients USING (recipient_id, channel)
WHERE alert_key = ANY(%(keys)s::int8[]) ORDER BY alert_key, position
"""

_READ = """
SELECT recipient_id, address_hash, address_encrypted FROM recipients
WHERE recipient_id = ANY(%(ids)s::int8[])
"""


def normalised(address: str) -> str:
    """Return an address as it is looked up: mail addresses do not differ by case."""
    return address.strip().lower() if "@" in address and "/" not in address else address.strip()


@dataclass(frozen=True)
class RecipientStore:
    """Keeps recipients of alerts."""

    keyring: "Keyring"
    index: "BlindIndex"

    def digest(self, address: str) -> bytes:
        """Return the keyed hash of an address, the same for every channel."""
        return self.index.digest(f"recipient:{normalised(address)}")

    def replace(self, connection: "Connection", alert_key: int, recipients: "Sequence[Recipient]") -> None:
        """Have an alert tell these and nobody else, in this order."""
        connection.execute(_CLEAR, {"alert_key": alert_key})
        if not recipients:
            return
        hashes = [self.digest(each.address) for each in recipients]
        parameters = {
            "alert_key": alert_key,
            "channels": [each.channel.value for each in recipients],
            "hashes": hashes,
            "encrypted": [
                self.keyring.encrypt(each.address.encode(), digest)
                for each, digest in zip(recipients, hashes, strict=True)
            ],
        }
        with driver_cursor(connection) as cursor:
            cursor.execute(_ADD, parameters)
            cursor.execute(_SET, parameters)

    def of_alerts(self, connection: "Connection", keys: "Collection[int]") -> dict[int, list[Recipient]]:
        """Return the recipients of alerts in their order; alerts without any are left out."""
        found: dict[int, list[Recipient]] = {}
        with driver_cursor(connection) as cursor:
            rows = cursor.execute(_OF_ALERTS, {"keys": list(keys)}).fetchall()
        for alert_key, channel, digest, encrypted in rows:
            address = self.keyring.decrypt(encrypted, digest).decode()
            found.setdefault(alert_key, []).append(Recipient(ChannelKind(channel), address))
        return found

    def addresses(self, connection: "Connection", ids: "Collection[int]") -> dict[int, str]:
        """Return addresses by recipient id; unknown ids are left out."""
        with driver_cursor(connection) as cursor:
            rows = cursor.execute(_READ, {"ids": list(ids)}).fetchall()
        return {
            recipient_id: self.keyring.decrypt(encrypted, digest).decode()
            for recipient_id, digest, encrypted in rows
        }
