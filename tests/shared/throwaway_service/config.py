"""The settings of a made-up service."""

from shared.config import ServiceSettings


class ThrowawaySettings(ServiceSettings):
    """Those every service has."""
