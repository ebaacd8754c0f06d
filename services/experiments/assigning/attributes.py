"""What of somebody's attributes is kept, to break results down by. Pure."""

import json
from collections.abc import Mapping
from typing import Final

from services.experiments.domain import Experiment, JsonValue

LONGEST_VALUE: Final = 100


def kept_values(experiment: Experiment, attributes: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the texts of those attributes that an experiment keeps and somebody has."""
    texts = {name: _text(attributes.get(name)) for name in experiment.kept_attributes}
    return {name: text for name, text in texts.items() if text is not None}


def _text(value: JsonValue) -> str | None:
    match value:
        case str():
            # PostgreSQL keeps no NUL.
            return None if "\0" in value else value[:LONGEST_VALUE]
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return None
