"""What an attempt to tell somebody came to. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

ANSWER_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said; `retry_after_seconds` where it said when to come back."""

    delivered: bool
    text: str
    # Trying again is of no use.
    permanent: bool = False
    retry_after_seconds: float | None = None


def shown(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text of a receiver as it may be stored: short, without control characters and `secrets`.

    Receivers repeat what they were sent, above all where they refuse it.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "…")  # before it is cut, or half of one would stay
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:ANSWER_CHARACTERS]
