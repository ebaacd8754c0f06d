"""Remembers how far the import of a file has come, so that an interrupted one goes on from there."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from brain_client.progress import Tally

_KEPT = ("last_line", "accepted", "duplicates", "rejected")


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of one import is kept. Losing it costs time, nothing else: events are known by id."""

    path: Path
    fingerprint: str

    def load(self) -> Tally:
        """Return the counts of an interrupted import of the same file; without one, those of a new import."""
        try:
            state = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return Tally()
        if state.get("fingerprint") != self.fingerprint:
            return Tally()
        first, last = state["proof"]
        return Tally(**{name: state[name] for name in _KEPT}, proof=(first, last))

    def save(self, tally: Tally) -> None:
        """Remember that everything up to tally.last_line is stored."""
        state = {name: getattr(tally, name) for name in _KEPT}
        state |= {"fingerprint": self.fingerprint, "proof": tally.proof}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(state))
        unfinished.replace(self.path)

    def forget(self) -> None:
        """Begin at the first line next time."""
        self.path.unlink(missing_ok=True)


def checkpoint(file: Path, address: str, choices: str, directory: Path) -> Checkpoint:
    """Return the checkpoint of a file on its way to an address; other contents or choices begin anew."""
    status = file.stat()
    fingerprint = f"{address} {status.st_size} {status.st_mtime_ns} {choices}"
    name = sha256(f"{address} {file.resolve()}".encode()).hexdigest()[:16]
    return Checkpoint(directory / f"{file.name}-{name}.json", fingerprint)
