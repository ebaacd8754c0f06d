"""Assigning events to steps, each event one step at the most (Kuhn's algorithm for bipartite matching)."""

from collections.abc import Collection, Sequence


def can_fill(steps: Collection[int], masks: Sequence[int]) -> bool:
    """Tell whether different events can fill all the steps; bit i of a mask: the event may fill step i."""
    step_of: dict[int, int] = {}
    options = {step: [event for event, mask in enumerate(masks) if mask >> step & 1] for step in steps}
    return all(augment(step, options, step_of) for step in steps)


def augment(item: int, options: "dict[int, list[int]]", item_of: dict[int, int]) -> bool:
    """Give an item one of its options, moving other items to other options where that helps.

    Args:
        item: a step or an event; it has no option yet.
        options: the options of each item.
        item_of: which item has an option; changed where this succeeds.

    """
    return _augment(item, options, item_of, set())


def _augment(item: int, options: "dict[int, list[int]]", item_of: dict[int, int], tried: set[int]) -> bool:
    for option in options[item]:
        if option not in tried:
            tried.add(option)
            if option not in item_of or _augment(item_of[option], options, item_of, tried):
                item_of[option] = item
                return True
    return False
