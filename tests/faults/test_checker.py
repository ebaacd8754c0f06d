"""The checker finds what it is there for; each case is wrong in one way."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.checker import StoredEvent, compare
from tests.faults.ledger import Answer, Ledger, Operation, Outcome, read
from tests.faults.made_events import content, new_ids

IDS = tuple(new_ids(6))
SENT = Operation(1, IDS[:3], Answer(Outcome.OK, accepted=3))
AGAIN = Operation(2, IDS[:3], Answer(Outcome.OK, duplicates=3))
LOST = Operation(3, IDS[3:5], Answer(Outcome.UNKNOWN, code="UNAVAILABLE"))
REFUSED = Operation(4, IDS[5:], Answer(Outcome.FAILED, code="INVALID_ARGUMENT"))
OPERATIONS = [SENT, AGAIN, LOST, REFUSED]


def row(event_id: str) -> StoredEvent:
    said = content(event_id)
    value = None if said.value is None else said.value * 1_000_000
    return StoredEvent(event_id, 1 + int(said.user.removeprefix("user ")), said.micros, said.name, value)


ROWS = [row(each) for each in IDS[:3]]


def told(rows: list[StoredEvent], operations: list[Operation] = OPERATIONS) -> str:
    return "\n".join(compare(operations, rows))


@pytest.mark.parametrize("rows", [ROWS, [*ROWS, *map(row, IDS[3:5])]], ids=["lost", "came through"])
def test_a_system_that_kept_its_word_has_no_problem(rows: list[StoredEvent]) -> None:
    assert told(rows) == ""


def test_what_was_acknowledged_must_be_there() -> None:
    assert told(ROWS[1:], [SENT]).startswith(f"acknowledged and not stored: 1 ({IDS[0]})")


def test_nothing_is_there_twice() -> None:
    assert told([*ROWS, ROWS[0]]) == f"stored twice: 1 ({IDS[0]})"


def test_nothing_is_there_that_was_never_sent() -> None:
    [phantom] = new_ids(1)
    assert f"stored and never sent: 1 ({phantom})" in told([*ROWS, row(phantom)])


def test_what_was_refused_is_not_there() -> None:
    assert told([*ROWS, row(IDS[5])]) == f"refused and stored: 1 ({IDS[5]})"


def test_a_batch_is_there_whole_or_not_at_all() -> None:
    assert told([*ROWS, row(IDS[3])]) == "stored in part: 1 (operation 3)"


@pytest.mark.parametrize("change", [{"micros": 1}, {"name": "other"}, {"value": 7}])
def test_what_is_there_is_what_was_sent(change: dict[str, object]) -> None:
    assert told([replace(ROWS[0], **change), *ROWS[1:]]) == f"stored otherwise than sent: 1 ({IDS[0]})"  # type: ignore[arg-type]  # as the fields are


def test_a_person_has_one_key() -> None:
    user = content(IDS[0]).user
    other = next(each for each in (new_ids(1)[0] for _ in range(100_000)) if content(each).user == user)
    operations = [SENT, Operation(2, (other,), Answer(Outcome.OK, accepted=1))]
    assert told([*ROWS, replace(row(other), user_key=999)], operations).startswith("people mixed up: 1")


def test_an_answer_counts_every_event() -> None:
    assert told(ROWS, [replace(SENT, answer=Answer(Outcome.OK, accepted=2))]) == (
        "counted wrongly in the answer: 1 (1)"
    )


def test_nothing_is_new_twice() -> None:
    operations = [SENT, replace(AGAIN, answer=Answer(Outcome.OK, accepted=3))]
    assert told(ROWS, operations) == "6 events were said to be new, and 3 are stored"


def test_a_ledger_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        for one in OPERATIONS:
            ledger.answered(ledger.sending(one.ids), one.answer)
        ledger.sending(IDS)
    assert read(path) == [*OPERATIONS, Operation(5, IDS, Answer(Outcome.UNKNOWN))]
