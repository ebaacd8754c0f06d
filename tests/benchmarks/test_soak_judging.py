from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.judging import GROWTH_BYTES, MORE_THREADS, Held, judge, miscounted, slope

MINUTES = [60.0 * minute for minute in range(16)]
SIZE = 100 * 2**20


def held(private: list[int], descriptors: list[int] | None = None, threads_after: int = 30) -> Held:
    return Held(MINUTES, private, descriptors or [20] * 16, 30, threads_after)


def test_what_stays_the_same_is_flat() -> None:
    judged = judge(held([SIZE] * 16))
    assert (judged.growth, judged.is_flat) == (0.0, True)
    assert not judged.keeps_descriptors
    assert judged.threads_returned


def test_a_leak_beneath_a_moments_work_is_found() -> None:
    leak = 2 * GROWTH_BYTES // 15
    working = {3: 80 * 2**20, 7: 50 * 2**20, 11: 60 * 2**20}
    judged = judge(held([SIZE + leak * at + working.get(at, 0) for at in range(16)]))
    assert not judged.is_flat
    assert abs(judged.growth - 2 * GROWTH_BYTES) < 0.25 * GROWTH_BYTES


def test_a_moments_work_at_the_end_is_no_leak() -> None:
    assert judge(held([SIZE] * 13 + [2 * SIZE] * 3)).is_flat


def test_what_gets_smaller_is_flat() -> None:
    assert judge(held([SIZE - 2**20 * at for at in range(16)])).is_flat


def test_a_descriptor_more_or_a_handful_of_threads_is_told() -> None:
    judged = judge(held([SIZE] * 16, descriptors=[20] * 10 + [21] * 6))
    assert (judged.descriptors_first, judged.descriptors_last, judged.keeps_descriptors) == (20, 21, True)
    assert not judge(held([SIZE] * 16, threads_after=31 + MORE_THREADS)).threads_returned
    fewer = judge(held([SIZE] * 16, descriptors=[20] * 10 + [19] * 6, threads_after=30 + MORE_THREADS))
    assert not fewer.keeps_descriptors
    assert fewer.threads_returned


def test_connections_that_come_and_go_are_kept_by_nobody() -> None:
    assert not judge(held([SIZE] * 16, descriptors=[19, 21, 20, 20] * 4)).keeps_descriptors


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12, unique=True), st.integers(-50, 50))
def test_the_slope_is_the_median_of_the_slopes_of_all_pairs(seconds: list[int], seed: int) -> None:
    at = sorted(seconds)
    values = [(each * 37 + seed * each * each) % 101 for each in at]
    pairs = sorted(
        (values[later] - values[first]) / (at[later] - at[first])
        for first in range(len(at))
        for later in range(first + 1, len(at))
    )
    middle = len(pairs) // 2
    median = pairs[middle] if len(pairs) % 2 else (pairs[middle - 1] + pairs[middle]) / 2
    assert abs(slope([float(each) for each in at], values) - median) < 1e-9


def test_lost_and_doubled_events_are_told_by_name() -> None:
    assert miscounted({"a": 2, "b": 1, "c": 1}, {"a": 2, "b": 2}) == [
        "b: 1 acknowledged, 2 counted",
        "c: 1 acknowledged, 0 counted",
    ]
