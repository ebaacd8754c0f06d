"""What keeps the suite from starting or running, in words for the person at the terminal."""


class LaunchError(Exception):
    """Says what is wrong and what to do; shown without a trace."""
