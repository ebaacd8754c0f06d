"""Run the suite on one machine: `python -m deploy.local up`, or `demo` to have data in it as well.

`restart` restarts every process of a suite that runs, one at a time.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shlex import quote
from types import FrameType

from deploy import children, rolling, settings
from deploy.errors import LaunchError
from deploy.settings import LocalSettings
from deploy.suite import Suite


class StopRequest:
    """Whether Ctrl-C was pressed or SIGTERM came; asking again changes nothing."""

    def __init__(self) -> None:
        self.received = False
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.received = True


class RestartRequest:
    """Whether somebody asked for a rolling restart since it was last begun."""

    def __init__(self) -> None:
        self._received = False
        signal.signal(rolling.SIGNAL, self._note)

    def taken(self) -> bool:
        """Return whether there is a request, and forget it."""
        received, self._received = self._received, False
        return received

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._received = True


def main() -> int:
    """Run until stopped; return the exit code: 1 if something could not start or died."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local")
    parser.add_argument("command", choices=["up", "demo", "restart"])
    command = parser.parse_args().command
    os.umask(0o077)
    try:
        refuse_other_systems()
        chosen = settings.load()
        if command == "restart":
            rolling.ask(chosen)
            print("Every process was restarted.", flush=True)
        else:
            run(chosen, StopRequest(), demo=command == "demo")
    except LaunchError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def refuse_other_systems() -> None:
    """Raise LaunchError unless this is Linux."""
    if sys.platform != "linux":
        raise LaunchError(
            f"The suite needs Linux, whose kernel ends children with their parent; this is {sys.platform}."
        )


def run(chosen: LocalSettings, stop: StopRequest, *, demo: bool) -> None:
    """Start the suite, tell about it, watch it until a stop is requested, and stop it."""
    restart = RestartRequest()
    suite = Suite(chosen, lambda: stop.received)
    demonstration = None
    tell_shortage(suite, demo=demo)
    try:
        suite.start()
        if not stop.received:
            print(summary(suite), flush=True)
            demonstration = start_demo(suite) if demo else None
        while not stop.received:
            if restart.taken():
                suite.begin_restart()
            suite.watch()
            if demonstration is not None and demonstration.poll():
                raise LaunchError("The demo failed, so the suite was stopped.")
            time.sleep(0.1)
    finally:
        if stop.received:
            print("\nStopping.", flush=True)
        if demonstration is not None:
            demonstration.terminate()
            demonstration.wait()
        suite.stop()
    print("Stopped.", flush=True)


def tell_shortage(suite: Suite, *, demo: bool) -> None:
    """Say so where no events will be taken; raise LaunchError where events are all it is about."""
    shortage = suite.shortage()
    if shortage is not None and demo:
        raise LaunchError(shortage)
    if shortage is not None:
        print(shortage, flush=True)


def start_demo(suite: Suite, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Import the example data and print the first answers here or in a log, in a process of its own."""
    environment = {
        **os.environ,
        "BRAIN_ADDRESS": suite.settings.address_of("events"),
        "BRAIN_EXPERIMENTS_ADDRESS": suite.settings.address_of("experiments"),
        "BRAIN_FORECASTING_ADDRESS": suite.settings.address_of("forecasting"),
        "BRAIN_FUNNELS_ADDRESS": suite.settings.address_of("funnels"),
        "BRAIN_DASHBOARD_URL": dashboard_url(suite),
        "BRAIN_ALERTS_ADDRESS": suite.settings.address_of("alerts"),
        "BRAIN_TOKEN": suite.tokens["admin"],
        "BRAIN_SHIFT_FILE": str(suite.directory / "demo_shift.json"),
    }
    return children.start([sys.executable, "-m", "deploy.demo"], log=log, environment=environment)


def dashboard_url(suite: Suite) -> str:
    """Return where a browser finds the dashboard."""
    return f"http://{suite.settings.gateway().address}/admin/analytics"


def summary(suite: Suite) -> str:
    """Return what to know once everything serves."""
    lines = ["Analytics Brain is up. Ctrl-C stops it.", ""]
    for service in suite.settings.services():
        lines += [
            f"  {service.label:<13} {service.address}   metrics http://{service.metrics_address}/metrics"
        ]
        lines += [f"  {'':<13} {each}   flags, for OpenFeature" for each in service.more_addresses.values()]
    gateway = suite.settings.gateway()
    lines += [
        f"  {'gateway':<13} http://{gateway.address}   metrics http://{gateway.metrics_address}/metrics",
        f"  {'dashboard':<13} {dashboard_url(suite)}   sign in with the admin token",
        f"  {'files':<13} {suite.directory}",
        "",
    ]
    lines += [f"  {name} token\n    {token}" for name, token in suite.tokens.items()]
    lines += [f"  write key for Segment, RudderStack and PostHog senders\n    {suite.write_key}"]
    brain = f".venv/bin/brain --address {suite.settings.address_of('events')}"
    found = suite.directory == Path(".brain").resolve()
    if not found:  # not as an option: what stands on a command line, everybody may read
        brain = f'BRAIN_TOKEN="$(cat {quote(str(suite.directory / "admin.token"))})" {brain}'
    lines += [
        "",
        f"Next, in another terminal{' (it finds these tokens by itself)' if found else ''}:",
        f"  {brain} track signed_up --user ada",
        f"  {brain} query active day",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
