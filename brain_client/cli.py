"""The command `brain`: its options and how it speaks of errors. A file for each group of commands."""

import zlib
from pathlib import Path
from typing import Any

import click
import grpc

from brain_client.cli_alerts import alerts
from brain_client.cli_audit import audit
from brain_client.cli_experiments import experiments
from brain_client.cli_forecast import forecast
from brain_client.cli_funnels import funnels
from brain_client.cli_import import import_command
from brain_client.cli_privacy import privacy
from brain_client.cli_query import query
from brain_client.cli_retention import lifecycle, retention, stickiness
from brain_client.cli_session import Target
from brain_client.cli_tokens import tokens
from brain_client.cli_track import track
from brain_client.errors import explain
from shared.clients import read_tls

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Explaining(click.Group):
    """Prints errors of the services and mistakes in what was asked for people, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 — click's signature
        try:
            return super().invoke(ctx)
        except grpc.RpcError as error:
            raise click.ClickException(explain(error)) from error
        except (ValueError, OSError, EOFError, zlib.error) as error:  # the last two: a cut .gz file
            raise click.ClickException(str(error)) from error


# \b keeps click from filling the lines.
_EXAMPLES = """\b
Examples:
  brain track signed_up --user u-1 --session s-1 --property plan=pro
  brain import events.jsonl.gz
  brain import sales.csv --map customer=user_id --map sold_at=event_time --set event=sold
  brain query active month
  brain query counts --by property:country --start 2026-01-01 --json
  brain query metrics dau --interval day
  brain query retention week --start-event signed_up --first-ever
  brain privacy export u-1
  brain privacy erase u-1 --mode erase
  brain experiments results button-colour
  brain forecast revenue --horizon 30
  brain forecast anomalies revenue
  brain funnels create checkout viewed added_to_cart purchased --window-minutes 1440
  brain funnels results checkout --by device
  brain alerts rule revenue-drop | brain alerts preview -
  brain audit --limit 20
  brain tokens create --role analyst --subject ana
"""


@click.group(cls=_Explaining, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address",
    envvar="BRAIN_ADDRESS",
    default="127.0.0.1:50051",
    show_default=True,
    show_envvar=True,
    help="Where the events service listens.",
)
@click.option(
    "--token",
    envvar="BRAIN_TOKEN",
    show_envvar=True,
    help="Bearer token. Without one, .brain/ingest.token or .brain/admin.token of this directory.",
)
@click.option(
    "--ca", type=_FILE, envvar="BRAIN_CA", show_envvar=True, help="Certificates to trust (PEM); turns TLS on."
)
@click.option(
    "--certificate",
    type=_FILE,
    envvar="BRAIN_CERTIFICATE",
    show_envvar=True,
    help="Certificate to show (PEM) where services ask for one; goes with --ca and --key.",
)
@click.option("--key", type=_FILE, envvar="BRAIN_KEY", show_envvar=True, help="Its private key (PEM).")
@click.pass_context
def main(
    context: click.Context,
    address: str,
    token: str | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Track events in Analytics Brain and ask about them."""
    if certificate and not ca:
        raise click.UsageError("--certificate is shown over TLS, which --ca turns on")
    context.obj = Target(address, token, read_tls(ca, certificate, key))


main.add_command(alerts)
main.add_command(audit)
main.add_command(experiments)
main.add_command(forecast)
main.add_command(funnels)
main.add_command(import_command)
for command in (lifecycle, retention, stickiness):
    query.add_command(command)
main.add_command(privacy)
main.add_command(query)
main.add_command(tokens)
main.add_command(track)
