"""Import the example data into a running suite and print the first answers."""

import sys
from collections.abc import Callable
from pathlib import Path

import grpc
from pydantic_settings import BaseSettings, SettingsConfigDict

from brain_client import explain
from brain_client.errors import as_call
from examples import online_retail, shop_alerts, shop_experiments, shop_forecast, shop_funnels


class DemoSettings(BaseSettings):
    """Where the suite is, and where to keep by how much the data was shifted in time."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="BRAIN_")

    address: str
    experiments_address: str
    forecasting_address: str
    funnels_address: str
    alerts_address: str
    dashboard_url: str
    token: str
    shift_file: Path


def run(settings: DemoSettings) -> None:
    """Import, then ask and fill; raise grpc.RpcError where a service fails."""
    address, token = settings.address, settings.token
    first, last = online_retail.import_shifted(address, token, settings.shift_file)
    tell("These answers", lambda: online_retail.answer(address, token, first, last))
    tell("The funnels", lambda: shop_funnels.demo(settings.funnels_address, token, first, last))
    tell("The forecast", lambda: shop_forecast.demo(settings.forecasting_address, token, last))
    print("\nAssigning the customers to two A/A tests.", flush=True)
    tell("The A/A tests", lambda: _experiment(settings.experiments_address, token))
    tell("The alerts", lambda: _alert(settings.alerts_address, token))
    print(f"\nThat was the demo. Look around: {settings.dashboard_url}", flush=True)


def _experiment(address: str, token: str) -> None:
    customers = shop_experiments.customers(event for _, event in online_retail.events())
    shop_experiments.run(address, token, customers)
    print("They are in the dashboard's tab A/B Tests.", flush=True)


def _alert(address: str, token: str) -> None:
    shop_alerts.demo(address, token)
    print("Three alerts are in its tab Alerts; one fires, for the data ends last week.", flush=True)


def tell(title: str, show: Callable[[], object]) -> None:
    """Show a part, or say that this machine was too slow for it: that is no reason to stop the rest."""
    try:
        show()
    except grpc.RpcError as error:
        call = as_call(error)
        if call is None or call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
        print(f"{title} took too long: this machine has much else to do. Ask again later.", flush=True)


if __name__ == "__main__":
    try:
        run(DemoSettings())  # type: ignore[call-arg]  # they come from the environment
    except grpc.RpcError as error:
        sys.exit("The demo failed. " + explain(error).replace("\n  ", "; "))
    except (OSError, ValueError) as error:  # a file of the example that is missing or cut
        sys.exit(f"The demo failed. {error}")
