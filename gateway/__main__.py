"""Runs the gateway: `python -m gateway`."""

import asyncio
import time

from gateway import application
from gateway.config import GatewaySettings
from shared import logs
from shared.config import load


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    gateway = await application.start(settings, time.time)
    await gateway.wait()


def main() -> None:
    """Read the settings and serve."""
    settings = load(GatewaySettings)
    logs.configure(settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
