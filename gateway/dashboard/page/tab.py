"""What a tab is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute

    from gateway.dashboard.page.signing_in import SigningIn


@dataclass(frozen=True, slots=True)
class Tab:
    """A view of its own address, below its name. Its place among the tabs is the key that opens it."""

    name: str
    title: str
    # All the routes of the tab, the view itself first.
    routes: "Callable[[SigningIn], list[BaseRoute]]"
