"""The tabs, in their order, which is also that of the keys that open them."""

from typing import TYPE_CHECKING, Final

from gateway.dashboard.alerts import tab as alerts_tab
from gateway.dashboard.events import tab as events_tab
from gateway.dashboard.experiments import tab as experiments_tab
from gateway.dashboard.funnels import tab as funnels_tab
from gateway.dashboard.predictions import tab as predictions_tab
from gateway.dashboard.retention import tab as retention_tab

if TYPE_CHECKING:
    from gateway.dashboard.page.tab import Tab

# As they shall stand: events, experiments, funnels, predictions, retention, alerts.
TABS: "Final[tuple[Tab, ...]]" = (
    events_tab.TAB,
    experiments_tab.TAB,
    funnels_tab.TAB,
    predictions_tab.TAB,
    retention_tab.TAB,
    alerts_tab.TAB,
)
