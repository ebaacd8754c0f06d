"""Remembers how far the import of a file has come, so that an interrupted one goes on from there."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from brain_client.progress import Tally

DIRECTORY = Path(".brain/imports")


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of one import is kept. Losing it costs time, nothing else: events are known by id."""

    path: Path
    fingerprint: str

    def load(self, tally: Tally) -> None:
        """Go on from the counts of an interrupted import of the same file; nothing where there is none."""
        try:
            state = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return
        if state.get("fingerprint") == self.fingerprint:
            tally.last_line = state["last_line"]
            tally.accepted = state["accepted"]
            tally.duplicates = state["duplicates"]
            tally.rejected = state["rejected"]

    def save(self, tally: Tally) -> None:
        """Remember that everything up to tally.last_line is stored."""
        state = {
            "fingerprint": self.fingerprint,
            "last_line": tally.last_line,
            "accepted": tally.accepted,
            "duplicates": tally.duplicates,
            "rejected": tally.rejected,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(state))
        unfinished.replace(self.path)

    def forget(self) -> None:
        """Begin at the first line next time."""
        self.path.unlink(missing_ok=True)


def checkpoint(file: Path, choices: str, directory: Path = DIRECTORY) -> Checkpoint:
    """Return the checkpoint of a file read with the given choices; other contents or choices begin anew."""
    status = file.stat()
    fingerprint = f"{status.st_size} {status.st_mtime_ns} {choices}"
    name = sha256(str(file.resolve()).encode()).hexdigest()[:16]
    return Checkpoint(directory / f"{file.name}-{name}.json", fingerprint)
