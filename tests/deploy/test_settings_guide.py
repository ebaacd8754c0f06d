"""`docs/settings.md` is the one place that tells every setting."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from brain_client.cli import main
from deploy.settings import LocalSettings
from gateway.config import GatewaySettings
from services.alerts.config import AlertsSettings
from services.events.config import EventsSettings
from services.experiments.config import ExperimentsSettings
from services.forecasting.config import ForecastingSettings
from services.funnels.config import FunnelsSettings

GUIDE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


@pytest.mark.parametrize(
    "settings_class",
    [
        LocalSettings,
        AlertsSettings,
        EventsSettings,
        ExperimentsSettings,
        ForecastingSettings,
        FunnelsSettings,
        GatewaySettings,
    ],
)
def test_the_guide_tells_every_setting(settings_class: type[BaseSettings]) -> None:
    prefix = settings_class.model_config["env_prefix"]
    names = {f"{prefix}{field}".upper() for field in settings_class.model_fields}
    assert {name for name in names if not is_told(name, prefix)} == set()


def is_told(name: str, prefix: str) -> bool:
    return f"`{name}`" in GUIDE or f"`{name.replace(prefix, '<SERVICE>_')}`" in GUIDE


def test_the_guide_tells_every_variable_of_the_command() -> None:
    names = {option.envvar for option in main.params if option.envvar}
    assert len(names) == 5
    assert {name for name in names if f"`{name}`" not in GUIDE} == set()
