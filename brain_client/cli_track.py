from uuid import uuid4

import click
from brain.events.v1.events_pb2 import TrackEventRequest

from brain_client.cli_session import Target, moment, pairs, typed
from brain_client.event import make_event


@click.command()
@click.argument("event")
@click.option("--session", help="Session id; a new session where absent.")
@click.option("--user", help="User id.")
@click.option("--anonymous", help="Anonymous id.")
@click.option("--category", default="", help='"revenue" makes the value count as revenue.')
@click.option("--value", type=float, help="Amount.")
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--page", default="", help="Page or screen.")
@click.option("--time", "event_time", help="ISO 8601, UTC unless it says otherwise; now where absent.")
@click.option("--id", "event_id", help="Event id, with --time: tracking it again stores nothing.")
@click.pass_obj
def track(  # noqa: PLR0913, PLR0917 — click hands over each option
    target: Target,
    event: str,
    session: str | None,
    user: str | None,
    anonymous: str | None,
    category: str,
    value: float | None,
    properties: tuple[str, ...],
    page: str,
    event_time: str | None,
    event_id: str | None,
) -> None:
    """Store one event and wait until it is safe.

    Values of properties that are JSON numbers, true or false are stored as such, others as text.
    """
    made = make_event(
        event,
        session_id=session or str(uuid4()),
        user_id=user,
        anonymous_id=anonymous,
        category=category,
        value=value,
        properties={name: typed(text) for name, text in pairs(properties, "--property").items()},
        page=page,
        event_time=moment(event_time) if event_time else None,
        event_id=event_id,
    )
    with target.connect("ingest") as brain:
        reply = brain.events.TrackEvent(TrackEventRequest(event=made))
    click.echo(f"{made.event_id} {'had been stored before' if reply.duplicate else 'stored'}")
