"""Less variance from what was known of participants before: CUPED.

Deng, Xu, Kohavi, Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing
Pre-Experiment Data", WSDM 2013, section 3.2, with one coefficient for all variants: that of the common slope
within variants, so that a difference between them does not enter it.
"""

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from services.experiments.stats.moments import JointMoments, Moments

if TYPE_CHECKING:
    from collections.abc import Sequence


def adjusted(variants: "Sequence[JointMoments]") -> list[Moments]:
    """Return the moments of y less θ (x − its mean over all variants), where x was known before.

    Expected means stay what they are; variances shrink by the square of the correlation within variants.
    Without any spread of x nothing changes.
    """
    within_x = sum(each.x.m2 for each in variants)
    if within_x == 0:
        return [each.y for each in variants]
    theta = sum(each.c for each in variants) / within_x
    centre = reduce(add, (each.x for each in variants)).mean
    return [_adjust(each, theta, centre) for each in variants]


def _adjust(variant: JointMoments, theta: float, centre: float) -> Moments:
    m2 = variant.y.m2 - 2 * theta * variant.c + theta * theta * variant.x.m2
    mean = variant.y.mean - theta * (variant.x.mean - centre)
    return Moments(variant.n, mean if variant.n else 0.0, max(0.0, m2))
