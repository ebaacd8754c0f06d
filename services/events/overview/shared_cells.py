"""Cells that the metrics of one answer share: what several of them ask for is read once."""

from typing import TYPE_CHECKING

from services.events.reading.store import CellStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.events.domain import Selection
    from services.events.reading.cells import Cells


class SharedCells(CellStore):
    """Remembers what it has read; made for one answer."""

    def __init__(self, store: CellStore) -> None:
        super().__init__(store.engine, store.calendar)
        self._read: dict[object, Cells] = {}

    def read(
        self,
        buckets: "Sequence[tuple[int, int]]",
        selection: "Selection",
        *,
        by_type: bool = False,
        users: bool = True,
        sets: bool = False,
    ) -> "Cells":
        """Return the cells of the buckets, as CellStore does."""
        question = (tuple(buckets), selection, by_type, users, sets)
        if question not in self._read:
            self._read[question] = super().read(buckets, selection, by_type=by_type, users=users, sets=sets)
        return self._read[question]
