"""Prints what `kubectl apply --filename -` takes: `python -m deploy.kubernetes manifests`, or `… secrets`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.kubernetes import rendering


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the manifests, or the secrets of a directory that `python -m deploy.secret_files` made."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kubernetes")
    commands = parser.add_subparsers(dest="command", required=True)
    manifests = commands.add_parser("manifests", help="everything but secrets")
    manifests.add_argument("--registry", required=True, help="where images lie: registry.example/brain")
    manifests.add_argument("--tag", required=True, help="of every image, such as 1.4.0")
    secrets = commands.add_parser("secrets", help="the secrets that a directory holds")
    secrets.add_argument("directory", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.command == "manifests":
        print(rendering.manifests(chosen.registry, chosen.tag))
        return
    try:
        print(rendering.secrets(chosen.directory))
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: `python -m deploy.secret_files {chosen.directory}` makes it")


if __name__ == "__main__":
    main()
