"""Shows how an import goes on, and adds up what became of its lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from brain_client.upload import Settled


@dataclass
class Tally:
    """Sums of an import; a resumed one begins with those of the part before."""

    last_line: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    # The last lines known to be stored lie below the first of these two and end with the second.
    proof: tuple[int, int] = (0, 0)
    started: float = field(default_factory=time.monotonic)
    handled: int = 0  # by this run

    def add(self, settled: Settled) -> None:
        """Count the next lines."""
        if settled.accepted or settled.duplicates:
            self.proof = (self.last_line, settled.last_line)
        self.last_line = settled.last_line
        self.accepted += settled.accepted
        self.duplicates += settled.duplicates
        self.rejected += settled.rejected
        self.handled += settled.accepted + settled.duplicates + settled.rejected

    @property
    def seconds(self) -> float:
        """How long this run has taken."""
        return time.monotonic() - self.started

    def __str__(self) -> str:
        rate = self.handled / max(self.seconds, 0.001)
        return (
            f"{self.accepted:,} accepted, {self.duplicates:,} duplicates, {self.rejected:,} rejected "
            f"in {self.seconds:.1f} s ({rate:,.0f} events/s)"
        )


@contextmanager
def bar(console: Console, label: str, total: int) -> Iterator[Callable[[Tally, int], None]]:
    """Show a bar while the context lasts; the function given moves it to a position within `total`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total, counts="")

        def move(tally: Tally, position: int) -> None:
            rate = tally.handled / max(tally.seconds, 0.001)
            counts = f"{tally.handled:,} events, {rate:,.0f}/s, {tally.duplicates:,} duplicates"
            progress.update(task, completed=position, counts=counts)

        yield move
