"""A number that identifies a set of events: Σ mix64(user_key, event_time, event_id) mod 2⁶⁴.

The sum does not depend on order and follows from parts, so deltas carry their share of it. The mixer is the
finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014,
figure 16), applied in a chain over the four words of an event's identity.
"""

import numpy as np
from numpy.typing import NDArray


def mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each word mixed: a bijection after which any bit depends on all."""
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def mix64(
    user_keys: NDArray[np.int32],
    times: NDArray[np.int64],
    id_words: tuple[NDArray[np.uint64], NDArray[np.uint64]],
) -> NDArray[np.uint64]:
    """Return the share of each event.

    Args:
        user_keys: one for each event.
        times: Unix microseconds.
        id_words: the upper and the lower eight bytes of the event ids.

    """
    mixed = mix(user_keys.astype(np.uint64))
    mixed = mix(mixed ^ times.astype(np.uint64))
    mixed = mix(mixed ^ id_words[0])
    return mix(mixed ^ id_words[1])
