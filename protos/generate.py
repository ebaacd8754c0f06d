"""Generates the Python code of every contract into protos/gen, or checks that it is current."""

import argparse
import filecmp
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
GENERATED = PROTOS / "gen"
# Ours, and the contracts of others that we serve.
AREAS = ("brain", "flagd")


def generate(target: Path) -> None:
    """Write *_pb2.py and .pyi for every file, *_pb2_grpc.py and .pyi for those that hold a service."""
    sources = sorted(path for area in AREAS for path in (PROTOS / area).rglob("*.proto"))
    with_service = [source for source in sources if "\nservice " in source.read_text()]
    include = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}"]
    plugins = [
        f"--plugin={Path(sys.executable).with_name(f'protoc-gen-{name}')}" for name in ("mypy", "mypy_grpc")
    ]
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    services = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    for outputs, inputs in ((messages, sources), (services, with_service)):
        if protoc.main(["protoc", *plugins, *include, *outputs, *map(str, inputs)]) != 0:
            sys.exit("protoc failed")


def differences(expected: Path, actual: Path) -> list[str]:
    """Names every generated file that differs, is missing or is left over."""
    names = {
        path.relative_to(root)
        for root in (expected, actual)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not ((expected / name).exists() and (actual / name).exists())
        or not filecmp.cmp(expected / name, actual / name, shallow=False)
    )


def main() -> None:
    """`generate.py` writes; `generate.py --check` exits with 1 where protos/gen is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory))
        if check:
            stale = differences(Path(directory), GENERATED)
            if stale:
                sys.exit("out of date, run `make protos`: " + ", ".join(stale))
            return
        shutil.rmtree(GENERATED, ignore_errors=True)
        shutil.copytree(directory, GENERATED)


if __name__ == "__main__":
    main()
