"""Somebody: what kind of id names them, and the id."""

from enum import IntEnum


class PersonKind(IntEnum):
    """What an id names, as stored; ids of two kinds never collide."""

    USER = 1
    ANONYMOUS = 2
    SESSION = 3


# A tuple, because it is the key of the hottest dictionaries.
Who = tuple[PersonKind, str]
