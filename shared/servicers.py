"""One contract answered by several objects, each with the calls of one subject."""

from collections.abc import Callable, Sequence
from typing import Any


def joined(contract: type, groups: Sequence[object]) -> Any:  # noqa: ANN401 - stands for the contract
    """Return an object that answers every call of a generated servicer class with the group that has it.

    Raises:
        ValueError: a call is answered by no group, or by two.

    """
    calls: dict[str, Callable[..., object]] = {}
    for name in (name for name in vars(contract) if not name.startswith("_")):
        answering = [group for group in groups if callable(getattr(group, name, None))]
        if len(answering) != 1:
            raise ValueError(f"{contract.__name__}.{name} is answered by {len(answering)} groups")
        calls[name] = getattr(answering[0], name)
    return type(contract.__name__, (), calls)()
