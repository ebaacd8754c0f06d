"""What a service would make of the environment that compose or Kubernetes gives it."""

import json
from collections.abc import Mapping

from gateway.config import GatewaySettings
from services.alerts.config import AlertsSettings
from services.events.config import EventsSettings
from services.experiments.config import ExperimentsSettings
from services.forecasting.config import ForecastingSettings
from services.funnels.config import FunnelsSettings
from shared.config import ServerSettings

CLASSES: Mapping[str, type[ServerSettings]] = {
    "events": EventsSettings,
    "experiments": ExperimentsSettings,
    "funnels": FunnelsSettings,
    "forecasting": ForecastingSettings,
    "alerts": AlertsSettings,
    "gateway": GatewaySettings,
}


def parse(service: str, environment: Mapping[str, str]) -> ServerSettings:
    """Return the settings; fail for names that are none, and as the service does for missing ones."""
    settings_class = CLASSES[service]
    prefix = f"{service.upper()}_"
    unknown = [
        name
        for name in environment
        if not name.startswith(prefix) or name.removeprefix(prefix).lower() not in settings_class.model_fields
    ]
    assert unknown == []
    values = {
        name.removeprefix(prefix).lower(): json.loads(value) if value.startswith("{") else value
        for name, value in environment.items()
    }
    return settings_class.model_validate(values)
