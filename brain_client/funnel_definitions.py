"""Funnels as the command line and files define them."""

from collections.abc import Sequence
from typing import TextIO

import click
from brain.funnels.v1 import funnels_pb2 as pb
from google.protobuf.json_format import Parse, ParseError

ORDERS = {
    "ordered": pb.ORDER_MODE_ORDERED,
    "strict": pb.ORDER_MODE_STRICT,
    "unordered": pb.ORDER_MODE_UNORDERED,
}


def of_events(events: Sequence[str], **asked: object) -> pb.CreateFunnelRequest:
    """Return a funnel of events, a step each in order, as the options of the command say."""
    optional, excluded = asked["optional"], asked["exclude"]
    assert isinstance(optional, tuple), "click gives tuples"
    assert isinstance(excluded, tuple), "click gives tuples"
    return pb.CreateFunnelRequest(
        name=str(asked["name"]),
        steps=[
            pb.FunnelStep(event=event, order=order, optional=order in optional)
            for order, event in enumerate(events)
        ],
        time_window_minutes=int(str(asked["window_minutes"])),
        order_mode=ORDERS[str(asked["order"])],
        exclusions=[_exclusion(text) for text in excluded],
    )


def read(definition: TextIO) -> pb.CreateFunnelRequest:
    """Read a funnel from JSON; raise UsageError."""
    try:
        return Parse(definition.read(), pb.CreateFunnelRequest())
    except ParseError as error:
        raise click.UsageError(f"{definition.name} is no CreateFunnelRequest: {error}") from error


def _exclusion(text: str) -> pb.Exclusion:
    event, first, last = [*text.rsplit(":", 2), "", ""][:3]
    if not (event and first.isdigit() and last.isdigit()):
        raise click.UsageError(f"--exclude takes EVENT:FROM:TO, not {text!r}")
    return pb.Exclusion(event=event, from_step=int(first), to_step=int(last))
