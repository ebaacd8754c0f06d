"""The tabs, in their order, which is also that of the keys that open them."""

from typing import TYPE_CHECKING, Final

from gateway.dashboard import (
    alerts_tab,
    events_tab,
    experiments_tab,
    funnels_tab,
    predictions_tab,
    retention_tab,
)

if TYPE_CHECKING:
    from gateway.dashboard.frame import Tab

# As they shall stand: events, experiments, funnels, predictions, retention, alerts.
TABS: "Final[tuple[Tab, ...]]" = (
    events_tab.TAB,
    experiments_tab.TAB,
    funnels_tab.TAB,
    predictions_tab.TAB,
    retention_tab.TAB,
    alerts_tab.TAB,
)
