"""Amounts as they are stored: whole numbers of millionths."""

from services.events.domain import VALUE_SCALE


def stored_value(value: float) -> int:
    """Return a finite amount in millionths, rounded half to even."""
    whole = int(value)  # the product of a large amount would not be exact
    return whole * VALUE_SCALE + round((value - whole) * VALUE_SCALE)
