"""Three alerts over the shop's events, to look at. They have no channels: nothing leaves this machine.

The data ends last week, so that the one about days without an order fires.
"""

from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1 import definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1 import common_pb2

from examples.patience import PATIENCE_SECONDS
from shared.clients import channel

ALERTS = (
    pb.CreateAlertRequest(
        alert_id="demo-revenue-falls",
        definition=definition_pb2.AlertDefinition(
            name="Revenue falls by 30 % in a week (demonstration)",
            metric=definition_pb2.MetricReference(
                source="events", name="revenue", interval=common_pb2.INTERVAL_WEEK
            ),
            condition=definition_pb2.ALERT_CONDITION_CHANGE_RATIO,
            threshold=-0.3,
            recovery_threshold=-0.1,
            # Weeks of holidays have fewer lines of invoices, and say little.
            min_sample=5_000,
        ),
    ),
    pb.CreateAlertRequest(
        alert_id="demo-many-returns",
        definition=definition_pb2.AlertDefinition(
            name="More than 300 returns in a week (demonstration)",
            metric=definition_pb2.MetricReference(
                source="events",
                name="event_count",
                labels={"event": "item_returned"},
                interval=common_pb2.INTERVAL_WEEK,
            ),
            condition=definition_pb2.ALERT_CONDITION_GREATER_THAN,
            threshold=300,
            recovery_threshold=280,
        ),
    ),
    pb.CreateAlertRequest(
        alert_id="demo-no-order",
        definition=definition_pb2.AlertDefinition(
            name="A day without an order (demonstration)",
            metric=definition_pb2.MetricReference(
                source="events", name="sessions", interval=common_pb2.INTERVAL_DAY
            ),
            condition=definition_pb2.ALERT_CONDITION_LESS_THAN,
            threshold=1,
            no_data_policy=definition_pb2.NO_DATA_POLICY_FIRE,
        ),
    ),
)


def demo(address: str, token: str) -> None:
    """Make them; again, it changes nothing. `token` has the role admin."""
    with channel(address, token, deadline_seconds=PATIENCE_SECONDS) as calls:
        stub = AlertsServiceStub(calls)
        for request in ALERTS:
            stub.CreateAlert(request)
