"""Which variant somebody gets who has none yet."""

from collections.abc import Mapping
from enum import Enum

from services.experiments.assigning import hashing
from services.experiments.assigning.targeting import meets
from services.experiments.domain import Experiment, JsonValue
from shared.who import Who


class NoVariant(Enum):
    """Why somebody gets none."""

    NOT_TARGETED = 4
    NOT_COVERED = 5
    EXCLUDED = 6


def choose(experiment: Experiment, who: Who, attributes: Mapping[str, JsonValue]) -> int | NoVariant:
    """Return the position of the variant, or why there is none."""
    if not meets(attributes, experiment.targeting):
        return NoVariant.NOT_TARGETED
    part = experiment.namespace_slice
    if part is not None:
        place = hashing.position(f"namespace:{part.namespace}", who)
        if hashing.is_below(place, part.start) or not hashing.is_below(place, part.end):
            return NoVariant.EXCLUDED
    if not hashing.is_below(hashing.position(f"coverage:{experiment.key}", who), experiment.coverage):
        return NoVariant.NOT_COVERED
    shares = [variant.share for variant in experiment.variants]
    return hashing.variant_at(hashing.position(f"variant:{experiment.key}", who), shares)
