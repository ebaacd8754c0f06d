"""What the dashboard is given by whoever starts it."""

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.access import Access
from gateway.services import Services
from shared.encryption import Keyring


@dataclass(frozen=True)
class Surroundings:
    """The services behind the dashboard, and what its pages and cookies are made with."""

    services: Services
    access: Access
    # Seals the cookie that holds the token.
    cookie_keys: Keyring
    # Days begin in it unless a page is asked for another zone.
    reporting_zone: ZoneInfo
    # What can be looked at: titles by name, in order.
    tab_titles: Mapping[str, str]
    # Shown beside the product's name: "production", "staging" …
    environment: str = "local"
    # ISO 4217 code of the one currency that values are in; empty shows plain numbers.
    currency: str = ""
    # Browsers reach the dashboard through HTTPS, so its cookies may demand it.
    secure_cookies: bool = False
    # What a first event may be sent with, shown while there is none; or where, by other means.
    write_key: str = ""
    events_address: str = ""
