"""The hash and targeting by themselves."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from services.experiments.assigning.hashing import is_below, position, variant_at
from services.experiments.assigning.targeting import meets
from services.experiments.domain import Condition, JsonValue, Operator
from shared.who import PersonKind

ALPHABETS = {"digits": "user-{}", "latin": "größe-{}-ñ", "japanese": "利用者{}番", "emoji": "{}💡"}


def test_positions_are_these_for_ever() -> None:
    # Computed once with sha256sum; a change would move people between variants.
    # printf 'variant:colour:user:ann' | sha256sum | cut -c 1-16
    assert f"{position('variant:colour', (PersonKind.USER, 'ann')):016x}" == "64c1e5fba26ba858"
    assert f"{position('coverage:x', (PersonKind.ANONYMOUS, 'Zoë')):016x}" == "d62a2bbf6886510f"


def test_shares_are_cut_exactly() -> None:
    half = 1 << 63
    assert is_below(half - 1, 5_000)
    assert not is_below(half, 5_000)
    assert is_below((1 << 64) - 1, 10_000)
    assert not is_below(0, 0)
    assert [variant_at(at, [5_000, 0, 5_000]) for at in (0, half - 1, half, 2 * half - 1)] == [0, 0, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ALPHABETS.values(), ids=ALPHABETS)
def test_a_million_ids_are_spread_evenly(pattern: str) -> None:
    places = np.array(
        [
            position("variant:colour", (PersonKind.USER, pattern.format(number)))
            for number in range(1_000_000)
        ],
        np.uint64,
    )
    buckets = np.bincount((places >> np.uint64(54)).astype(np.int64), minlength=1_024)
    assert chisquare(buckets).pvalue > 1e-4


@pytest.mark.slow
def test_two_experiments_split_independently() -> None:
    pairs = Counter(
        tuple(position(f"variant:{key}", (PersonKind.USER, f"{number}")) >> 62 for key in ("x", "y"))
        for number in range(200_000)
    )
    assert len(pairs) == 16
    assert chisquare(list(pairs.values())).pvalue > 1e-4


@pytest.mark.parametrize(
    ("operator", "values", "found", "expected"),
    [
        (Operator.EQUALS, (6,), 6.0, True),
        (Operator.EQUALS, (6,), "6", False),
        (Operator.EQUALS, (1,), True, False),
        (Operator.EQUALS, (True,), True, True),
        (Operator.EQUALS, (None,), None, True),
        (Operator.NOT_EQUALS, (6,), "6", True),
        (Operator.NOT_EQUALS, (6,), 6, False),
        (Operator.IN, ("a", 2), 2, True),
        (Operator.IN, ("a", 2), "b", False),
        (Operator.CONTAINS, ("nd",), "android", True),
        (Operator.CONTAINS, ("ND",), "android", False),
        (Operator.CONTAINS, (2,), [1, 2], True),
        (Operator.CONTAINS, (2,), 12, False),
        (Operator.GREATER, (2,), 2.5, True),
        (Operator.GREATER, (2,), 2, False),
        (Operator.GREATER, (2,), "3", False),
        (Operator.GREATER, (0,), True, False),
        (Operator.LESS, (2,), 1, True),
        (Operator.EXISTS, (), None, True),
    ],
)
def test_attributes_are_compared_by_kind(
    operator: Operator, values: tuple[JsonValue, ...], found: JsonValue, *, expected: bool
) -> None:
    assert (
        meets({"device": {"os": [found]}}, [Condition(("device", "os", "0"), operator, values)]) is expected
    )


@pytest.mark.parametrize("operator", Operator)
def test_what_is_missing_only_differs(operator: Operator) -> None:
    values = () if operator is Operator.EXISTS else (1,)
    found = meets({"device": {}}, [Condition(("device", "os"), operator, values)])
    assert found is (operator is Operator.NOT_EQUALS)


def test_all_conditions_must_hold() -> None:
    one, two = Condition(("a",), Operator.EXISTS), Condition(("b",), Operator.EXISTS)
    assert meets({}, [])
    assert not meets({"a": 1}, [one, two])
    assert meets({"a": 1, "b": 2}, [one, two])
