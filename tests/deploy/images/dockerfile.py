"""deploy/Dockerfile followed without a container engine: its own lines, in directories for stages."""

import fnmatch
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
# What the Dockerfile names at the root of a file system; elsewhere a path belongs to the machine.
_OWN_ROOTS = re.compile(r"(?<![\w.$/])/(?=(?:app|code|venv|requirements\.txt)\b)")


@dataclass(frozen=True)
class Step:
    """An instruction: RUN and what it runs."""

    name: str
    text: str


@dataclass
class Stage:
    """The directory that stands for a stage's file system, and what its instructions said."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    said: dict[str, str] = field(default_factory=dict)

    def place(self, path: str) -> Path:
        """Return where a path of the image lies."""
        return self.root / self.directory.lstrip("/") / path if path[0] != "/" else self.root / path[1:]

    def command(self, text: str) -> str:
        """Return a command with its paths of the image turned into those of the directory."""
        return _OWN_ROOTS.sub(f"{self.root}/", text)

    def run(self, text: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command as the image would."""
        told = {**environment, **{name: self.command(value) for name, value in self.variables.items()}}
        return subprocess.run(
            ["/bin/sh", "-c", self.command(text)],
            cwd=self.place("."),
            env=told,
            capture_output=True,
            text=True,
            check=False,
        )


def steps(dockerfile: Path = DOCKERFILE) -> list[Step]:
    lines = dockerfile.read_text().splitlines()
    instructions = [line for line in lines if line and not line.startswith("#")]
    return [Step(*line.split(maxsplit=1)) for line in instructions]


def build(service: str, directory: Path, environment: Mapping[str, str]) -> tuple[Stage, Stage]:
    """Follow every step for one service; return both stages."""
    context = directory / "context"
    _send_context(context)
    stages: list[Stage] = []
    for step in steps():
        if step.name == "FROM":
            stages.append(Stage(directory / f"stage{len(stages)}"))
            stages[-1].root.mkdir()
        elif stages:
            _follow(step, service, stages, context, environment)
    [first, last] = stages
    return first, last


def _follow(
    step: Step, service: str, stages: list[Stage], context: Path, environment: Mapping[str, str]
) -> None:
    stage = stages[-1]
    text = step.text.replace("${SERVICE}", service)
    match step.name:
        case "ARG":
            assert text == "SERVICE"
            stage.variables["SERVICE"] = service
        case "ENV":
            stage.variables |= dict(pair.split("=", 1) for pair in text.split())
        case "WORKDIR":
            stage.directory = text
            stage.place(".").mkdir()
        case "COPY":
            source_root = context
            if text.startswith("--from=build "):
                source_root, text = stages[0].root, text.removeprefix("--from=build ")
            source, target = text.split()
            _copy(source_root / source.lstrip("/"), stage.place(target))
        case "RUN":
            ran = stage.run(text, environment)
            assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        case "USER" | "CMD" | "HEALTHCHECK":
            stage.said[step.name] = text
        case unknown:
            raise AssertionError(f"{unknown} is not understood here")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        return
    assert source.is_file(), f"{source} is not in the context"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _send_context(target: Path) -> None:
    for path in context_files():
        _copy(CHECKOUT / path, target / path)


def context_files() -> Iterator[str]:
    """Yield what .dockerignore lets an engine see of the files that git knows or would add."""
    rules = [
        line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for path in listed.stdout.splitlines():
        if (CHECKOUT / path).exists() and _is_sent(path, rules):
            yield path


def _is_sent(path: str, rules: list[str]) -> bool:
    sent = True
    parents = [path, *(str(parent) for parent in Path(path).parents)]
    for rule in rules:
        pattern = rule.lstrip("!").removeprefix("**/")
        names = [one.rpartition("/")[2] for one in parents] if "**/" in rule else parents
        if any(fnmatch.fnmatchcase(name, pattern) for name in names):
            sent = rule.startswith("!")
    return sent


def interpreter_directory(directory: Path) -> Path:
    """Make a directory with a `python` that knows nothing of the environment these tests run in."""
    directory.mkdir()
    program = directory / "python"
    program.write_text(f'#!/bin/sh\nexec {Path(sys.base_exec_prefix) / "bin" / "python3"} "$@"\n')
    program.chmod(0o755)
    return directory
