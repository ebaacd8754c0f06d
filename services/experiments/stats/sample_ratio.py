"""Whether participants were split as intended: Pearson's chi-square test.

A split that is off says that something loses participants of one variant, so nothing else can be trusted:
Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019.
"""

from collections.abc import Sequence

from scipy.special import chdtrc

from services.experiments.stats.values import Undefined

# Below this p-value the split is held to be broken.
MISMATCH = 0.001
_MINIMUM_EXPECTED = 5.0


def p_value(participants: Sequence[int], expected: Sequence[float]) -> float | Undefined:
    """Return the p-value of counts against what was expected of each, in any unit.

    Raises ValueError for numbers below 0, or expectations that are not above 0 somewhere.
    """
    if len(participants) != len(expected) or min(participants, default=0) < 0 or min(expected, default=0) < 0:
        raise ValueError("as many expectations as counts, none below 0")
    if sum(expected) <= 0:
        raise ValueError("somebody is expected somewhere")
    if any(count and not share for count, share in zip(participants, expected, strict=True)):
        return 0.0  # where nobody can be, somebody is
    pairs = [(count, share) for count, share in zip(participants, expected, strict=True) if share]
    if len(pairs) == 1:
        return Undefined("one variant alone cannot be split wrongly")
    total = sum(participants) / sum(expected)
    if min(share * total for _, share in pairs) < _MINIMUM_EXPECTED:
        return Undefined("too few participants: a variant expects fewer than 5")
    statistic = sum((count - share * total) ** 2 / (share * total) for count, share in pairs)
    return float(chdtrc(len(pairs) - 1, statistic))
