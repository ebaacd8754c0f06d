"""How long the examples wait for one answer: they may run beside much else, and nobody is in a hurry."""

from typing import Final

PATIENCE_SECONDS: Final = 120.0
