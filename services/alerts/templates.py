"""The words an author may use in the message of an alert. Pure."""

from string import Template

WORDS = ("name", "metric", "value", "threshold", "window")


def unknown_words(message: str) -> list[str]:
    """Return what a message wants replaced and nothing here knows; `$` alone where it is malformed."""
    template = Template(message)
    if not template.is_valid():
        return ["$"]
    return [word for word in template.get_identifiers() if word not in WORDS]


def fill(message: str, words: dict[str, str]) -> str:
    """Return a message with its words replaced; the words themselves are never read as templates."""
    return Template(message).safe_substitute(words)
