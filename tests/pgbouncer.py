"""Debian's PgBouncer in transaction mode before an embedded PostgreSQL."""

import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy import children
from deploy.postgres import EmbeddedPostgres
from tests.waiting import until

SETTINGS = """
[databases]
* = host={server} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
"""


@contextmanager
def before(
    postgres: EmbeddedPostgres, directory: Path, roles: Iterable[str], connections: int = 4
) -> Iterator[int]:
    """Yield the port; each role may log in, and has so many connections to a database."""
    program = shutil.which("pgbouncer")
    assert program, "apt-get install pgbouncer (.ci/run does)"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    users = directory / "pgbouncer_users.txt"
    users.write_text("".join(f'"{role}" ""\n' for role in roles))
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        SETTINGS.format(server=postgres.data_directory, port=port, users=users, connections=connections)
    )
    account = children.unprivileged_account()  # it refuses to run as root
    process = children.start(
        [program, str(configuration)],
        log=directory / "pgbouncer.log",
        environment={},
        account=account,
        reach=[configuration],
    )
    try:
        until(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True
