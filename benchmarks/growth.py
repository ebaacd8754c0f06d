"""Growth: the same questions about the same 90 days, with ten times the events."""

from typing import TYPE_CHECKING

from benchmarks import measuring
from benchmarks.questions import Question, Questions
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from benchmarks.stored import Stored

FLAT_RATIO = 1.5


def run(stored: "Stored", counts: tuple[int, int], calls: int) -> list[Line]:
    """Measure few and many stored events, `calls` calls of each question."""
    few, many = (stored.database(count) for count in counts)
    with (
        stored.stack.service(few) as small,
        stored.stack.service(many) as large,
        small.channel() as to_small,
        large.channel() as to_large,
    ):
        pairs = zip(
            Questions(to_small, small.metadata, stored.now).with_bars(),
            Questions(to_large, large.metadata, stored.now).with_bars(),
            strict=True,
        )
        return [_compare(question, grown, counts, calls) for question, grown in pairs]


def _compare(question: Question, grown: Question, counts: tuple[int, int], calls: int) -> Line:
    before, after = measuring.medians([question.ask, grown.ask], calls)
    return Line(
        f"{question.name}, of {counts[1]:,} events",
        milliseconds(after),
        f"of {counts[0]:,} {milliseconds(before)}",
        f"{after / before:.2f} times the time",
        f"flat: ≤ {FLAT_RATIO}",
        after / before <= FLAT_RATIO,
    )
