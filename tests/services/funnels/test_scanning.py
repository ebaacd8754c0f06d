"""What one call asks the events service for."""

import numpy as np

from services.funnels.reading.chunks import Chunk
from services.funnels.reading.plan import Columns
from services.funnels.reading.scanning import batches, scan_request

# What the events service takes.
MAXIMUM_BYTES = 8 * 2**20
CHUNK = Chunk(2**64 - 1, np.empty(0, np.int32), np.empty(0, np.int64))


def test_every_chunk_can_be_held_of_many_long_names_for_years() -> None:
    group = [Columns(f"{number:0>200}") for number in range(64)]
    days = (18_000, 18_000 + 4 * 365)
    held = dict.fromkeys(range(*days), CHUNK)
    asked = list(batches(group, days))
    assert [columns for some in asked for columns in some] == group
    for some in asked:
        request = scan_request(some, days, {each.event: held for each in some})
        assert request.ByteSize() < MAXIMUM_BYTES


def test_at_most_a_hundred_names_are_asked_for_at_once() -> None:
    group = [Columns(str(number)) for number in range(250)]
    assert [len(some) for some in batches(group, (0, 1))] == [100, 100, 50]
