"""Runs the gateway: `python -m gateway`, or `… health`."""

import asyncio
import gc
import sys
import time

from gateway import application
from gateway.config import GatewaySettings
from shared import healthcheck, logs
from shared.config import load


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    gateway = await application.start(settings, time.time)
    await gateway.wait()


def main() -> None:
    """Serve; with `health`, end with code 0 if the gateway of the same settings serves, else with 1."""
    words = sys.argv[1:]
    if words not in ([], ["health"]):
        sys.exit("usage: python -m gateway [health]")
    settings = load(GatewaySettings)
    if words:
        healthcheck.end_with_health_of(settings, speaks_http=True)
    logs.configure(settings.log_level)
    gc.freeze()  # as every service, see shared.running
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
