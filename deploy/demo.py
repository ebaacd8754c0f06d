"""Import the example data into a running suite and print the first answers."""

import sys
from pathlib import Path

import grpc
from pydantic_settings import BaseSettings, SettingsConfigDict

from brain_client import explain
from examples import online_retail, shop_alerts, shop_experiments, shop_forecast, shop_funnels


class DemoSettings(BaseSettings):
    """Where the suite is, and where to keep by how much the data was shifted in time."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="BRAIN_")

    address: str
    experiments_address: str
    forecasting_address: str
    funnels_address: str
    alerts_address: str
    token: str
    shift_file: Path


if __name__ == "__main__":
    settings = DemoSettings()  # type: ignore[call-arg]  # they come from the environment
    try:
        first, last = online_retail.demo(settings.address, settings.token, settings.shift_file)
        shop_funnels.demo(settings.funnels_address, settings.token, first, last)
        shop_forecast.demo(settings.forecasting_address, settings.token, last)
        customers = shop_experiments.customers(event for _, event in online_retail.events())
        shop_experiments.run(settings.experiments_address, settings.token, customers)
        print("Two A/A tests of the shop's customers are in the dashboard's tab A/B Tests.", flush=True)
        shop_alerts.demo(settings.alerts_address, settings.token)
        print("Three alerts are in its tab Alerts; one fires, for the data ends last week.", flush=True)
    except grpc.RpcError as error:
        sys.exit("The demo failed. " + explain(error).replace("\n  ", "; "))
    except (OSError, ValueError) as error:  # a file of the example that is missing or cut
        sys.exit(f"The demo failed. {error}")
