"""The embedded PostgreSQL as a real process, killed and started in every way."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

import deploy.postgres
from deploy import data_directories
from deploy.errors import LaunchError
from deploy.postgres import EmbeddedPostgres
from shared.database import database_url

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def directory(scratch_directory: Path) -> Iterator[Path]:
    directory = scratch_directory / "server"
    directory.mkdir()
    yield directory / "postgres"
    shutil.rmtree(directory)


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    # What was committed survives a kill of PostgreSQL, though not a power cut.
    server = deploy.postgres.start(directory, durable=False, settings={"synchronous_commit": "on"})
    yield server
    server.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for the condition for up to 20 s; tell whether it came true."""
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def remember(server: EmbeddedPostgres, fact: str) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS facts (fact text)")
        connection.execute("INSERT INTO facts VALUES (%s)", [fact])


def remembered(server: EmbeddedPostgres) -> list[str]:
    with server.connect() as connection:
        return [str(fact) for (fact,) in connection.execute("SELECT fact FROM facts")]


def test_it_never_runs_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid == (os.geteuid() or owner(server))
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def owner(server: EmbeddedPostgres) -> int:
    return server.data_directory.stat().st_uid


def test_its_settings_are_ours(server: EmbeddedPostgres) -> None:
    asked = {**deploy.postgres.SETTINGS, **deploy.postgres.NOT_DURABLE, "synchronous_commit": "on"}
    with server.connect() as connection:
        for name, value in asked.items():
            same = connection.execute(
                "SELECT setting, unit, current_setting(name) FROM pg_settings WHERE name = %s", [name]
            ).fetchone()
            assert same is not None, f"PostgreSQL knows no {name}"
            assert value in same[::2], name


def test_it_listens_on_no_port(server: EmbeddedPostgres) -> None:
    with server.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert (server.data_directory / data_directories.SOCKET).stat().st_mode & 0o077 == 0


def test_its_url_works_for_a_role_of_a_service(server: EmbeddedPostgres) -> None:
    server.create_database("things")
    for _ in range(2):
        server.create_schema("things", "events")
    engine = sqlalchemy.create_engine(database_url(server.url("things", "events")))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT current_user")) == "events"
    engine.dispose()


def test_a_stopped_server_starts_again_with_its_data(server: EmbeddedPostgres) -> None:
    remember(server, "before")
    server.restart()
    assert remembered(server) == ["before"]


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_a_killed_server_starts_again_with_what_was_committed(
    server: EmbeddedPostgres, how: signal.Signals
) -> None:
    remember(server, "committed")
    os.kill(server.pid, how)
    assert eventually(lambda: not server.is_running())
    server.start()
    assert remembered(server) == ["committed"]


def test_a_pid_file_that_names_a_stranger_does_not_prevent_a_start(server: EmbeddedPostgres) -> None:
    pid_file = server.data_directory / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not server.is_running())
    with subprocess.Popen(["sleep", "60"], user=same_user(server)) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        server.start()
        stranger.kill()
    assert server.is_running()


def same_user(server: EmbeddedPostgres) -> int | None:
    """PostgreSQL itself takes a process of another user for a stranger, so this one must be its own."""
    return owner(server) if os.geteuid() == 0 else None


def test_a_back_end_that_outlives_its_server_is_waited_for(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.connect() as connection:
        [back_end] = connection.execute("SELECT pg_backend_pid()").fetchone() or [None]
        assert isinstance(back_end, int)
        os.kill(back_end, signal.SIGSTOP)
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not server.is_running())
        monkeypatch.setattr(data_directories, "DEAD_SECONDS", 0.2)
        with pytest.raises(data_directories.PostgresError, match="still runs"):
            server.start()
        os.kill(back_end, signal.SIGCONT)
    monkeypatch.undo()
    server.start()


def test_one_process_at_a_time_runs_a_data_directory(server: EmbeddedPostgres) -> None:
    with pytest.raises(LaunchError, match=f"already runs, started by process {os.getpid()}"):
        deploy.postgres.start(server.data_directory)


def test_the_server_ends_with_its_launcher(directory: Path) -> None:
    launcher = start_elsewhere(directory)
    assert data_directories.server_lives(directory)
    launcher.kill()
    launcher.wait()
    assert eventually(lambda: not data_directories.server_lives(directory))


def test_a_start_right_after_a_killed_launcher_waits_for_its_server(directory: Path) -> None:
    launcher = start_elsewhere(directory)
    launcher.kill()
    launcher.wait()
    server = deploy.postgres.start(directory, durable=False)
    assert remembered(server) == ["elsewhere"]
    server.close()


def start_elsewhere(directory: Path) -> subprocess.Popen[str]:
    """Start a server in a process of its own and have it remember a fact."""
    program = """
import sys, time
from pathlib import Path
import deploy.postgres
server = deploy.postgres.start(Path(sys.argv[1]), durable=False)
with server.connect() as connection:
    connection.execute("CREATE TABLE facts AS SELECT 'elsewhere' AS fact")
print("ready", flush=True)
time.sleep(60)
"""
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    )
    assert launcher.stdout is not None
    with launcher.stdout:
        assert launcher.stdout.readline() == "ready\n"
    return launcher


def test_a_broken_setting_is_told_with_the_log(directory: Path) -> None:
    with pytest.raises(
        data_directories.PostgresError, match='unrecognized configuration parameter "nonsense"'
    ):
        deploy.postgres.start(directory, settings={"nonsense": "1"})
    deploy.postgres.start(directory, durable=False).close()


def test_an_interrupted_initdb_is_done_again(directory: Path) -> None:
    unfinished = data_directories.beside(directory, ".new")
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    deploy.postgres.start(directory, durable=False).close()
    assert not unfinished.exists()


def test_a_path_too_long_for_a_socket_takes_a_loopback_port_with_a_password(scratch_directory: Path) -> None:
    deep = scratch_directory / ("d" * 100)
    server = deploy.postgres.start(deep / "postgres", durable=False)
    server.create_role("events")
    url = sqlalchemy.make_url(server.url("postgres", "events"))
    assert url.host == "127.0.0.1"
    psycopg.connect(server.url("postgres", "events")).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.set(password="guessed").render_as_string(hide_password=False))
    server.restart()
    assert server.url("postgres", "events") == url.render_as_string(hide_password=False)  # as others know it
    server.close()


def test_directories_closed_to_others_need_no_change(scratch_directory: Path) -> None:
    closed = scratch_directory / "closed"
    closed.mkdir(mode=0o700)
    server = deploy.postgres.start(closed / "postgres", durable=False)
    capabilities = Path(f"/proc/{server.pid}/status").read_text()
    with server.connect() as connection:  # a back end opens files of its own
        connection.execute("CREATE TABLE facts AS SELECT 1 AS fact; CHECKPOINT")
    server.restart()
    server.close()
    assert closed.stat().st_mode & 0o777 == 0o700
    # Root's server runs as nobody, who needs one capability to get there; anyone else's needs none.
    expected = f"{1 << 1 if os.geteuid() == 0 else 0:016x}"
    assert f"CapEff:\t{expected}\n" in capabilities


def test_open_directories_need_no_capability(server: EmbeddedPostgres) -> None:
    if any(parent.stat().st_mode & 0o001 == 0 for parent in server.data_directory.parents):
        pytest.skip("this checkout lies in a directory that is closed to others")
    assert "CapEff:\t0000000000000000\n" in Path(f"/proc/{server.pid}/status").read_text()
