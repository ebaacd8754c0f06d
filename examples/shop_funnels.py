"""Two funnels over the shop's events: who returns something they bought, and who buys again.

Each line of an invoice is an event, so a second purchase may be of the same invoice.
"""

import time
from datetime import datetime, timedelta

from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from rich.console import Console
from rich.table import Table

from brain_client.questions import time_range
from examples.patience import PATIENCE_SECONDS
from shared.clients import channel

_DAY_MINUTES = 24 * 60
FUNNELS = (
    pb.CreateFunnelRequest(
        funnel_id="purchase-to-return",
        name="Return within 7 days of a purchase",
        steps=[
            pb.FunnelStep(name="Purchase", event="item_purchased", order=0),
            pb.FunnelStep(name="Return", event="item_returned", order=1),
        ],
        time_window_minutes=7 * _DAY_MINUTES,
    ),
    pb.CreateFunnelRequest(
        funnel_id="purchase-to-second-purchase",
        name="Second purchase within 30 days of the first",
        steps=[
            pb.FunnelStep(name="Purchase", event="item_purchased", order=0),
            pb.FunnelStep(name="Second purchase", event="item_purchased", order=1),
        ],
        time_window_minutes=30 * _DAY_MINUTES,
    ),
)


def demo(address: str, token: str, first: datetime, last: datetime) -> None:
    """Make both, and print how many came to each step in [first, last]. `token` has the role admin."""
    console = Console()
    with channel(address, token, deadline_seconds=PATIENCE_SECONDS) as calls:
        funnels = FunnelsServiceStub(calls)
        for funnel in FUNNELS:
            funnels.CreateFunnel(funnel)
            request = pb.GetFunnelResultsRequest(
                funnel_id=funnel.funnel_id, time_range=time_range(first, last + timedelta(days=1))
            )
            began = time.perf_counter()
            reply = funnels.GetFunnelResults(request)
            took = time.perf_counter() - began
            _print(console, f"{funnel.name} ({took * 1000:.0f} ms)", reply)


def _print(console: Console, title: str, reply: pb.GetFunnelResultsResponse) -> None:
    table = Table("step", title=title, title_justify="left")
    for heading in ("people", "of the step before", "median hours"):
        table.add_column(heading, justify="right")
    for step in reply.results.steps:
        ratio = f"{step.step_ratio:.1%}" if step.HasField("step_ratio") else ""
        hours = f"{step.median_seconds / 3_600:.1f}" if step.HasField("median_seconds") else ""
        table.add_row(step.name, f"{step.users:,}", ratio, hours)
    console.print()
    console.print(table)
