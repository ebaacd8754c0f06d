"""The parts of the launcher that need no service: pauses between restarts, ports, locks, logs."""

import itertools
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from deploy import child, local, locks, processes, rolling, settings, suite
from deploy.errors import LaunchError
from deploy.suite import RestartPauses


def tries(deaths: int) -> list[float]:
    """The seconds at which a server that dies at once is started, asked about every tenth of a second."""
    pauses = RestartPauses()
    moments = (tenth / 10 for tenth in itertools.count())
    return list(itertools.islice((now for now in moments if pauses.due(now)), deaths))


def test_a_server_that_keeps_dying_is_started_ever_less_often() -> None:
    moments = tries(9)
    assert [round(later - earlier) for earlier, later in itertools.pairwise(moments)] == [
        1, 2, 4, 8, 16, 30, 30, 30,
    ]  # fmt: skip


def test_a_server_that_ran_steadily_is_started_at_once() -> None:
    pauses = RestartPauses()
    assert pauses.due(0)
    assert not pauses.due(0.5)
    assert pauses.due(1)
    assert pauses.due(1000)
    assert not pauses.due(1000.5)
    assert pauses.due(1001)


def test_who_asks_while_a_restart_is_under_way_waits_for_the_next(scratch_directory: Path) -> None:
    """Of no processes, so that each round of watching ends one."""
    restarted = suite.Suite(settings.LocalSettings(directory=scratch_directory), lambda: False)
    restarted._processes = []  # noqa: SLF001 - none of them need run for this
    restarted.begin_restart()
    restarted.begin_restart()
    restarted.watch()
    assert not (scratch_directory / "restart.result").exists()
    restarted.watch()
    assert (scratch_directory / "restart.result").read_text() == rolling.DONE


def test_a_taken_port_is_named_with_the_setting_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LaunchError, match=f"{address}: Address already in use. BRAIN_EVENTS_PORT"):
            processes.refuse_taken(address, "BRAIN_EVENTS_PORT")
    processes.refuse_taken(address, "BRAIN_EVENTS_PORT")


def test_a_lock_names_its_holder_and_ends_with_it(scratch_directory: Path) -> None:
    path = scratch_directory / "suite.lock"
    held = locks.take(path, "the suite")
    with pytest.raises(LaunchError, match=f"the suite already runs, started by process {os.getpid()}"):
        locks.take(path, "the suite")
    os.close(held)
    os.close(locks.take(path, "the suite"))


def test_a_large_log_makes_room_for_a_new_one(
    scratch_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LARGEST_LOG_BYTES", 3)
    log = scratch_directory / "events.log"
    log.write_text("old")
    processes.keep_small(log)
    assert log.read_text() == "old"
    log.write_text("older")
    processes.keep_small(log)
    assert not log.exists()
    assert log.with_name("events.log.1").read_text() == "older"


def test_all_wrong_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAIN_EVENTS_PORT", "0")
    monkeypatch.setenv("BRAIN_EVENTS_METRICS_PORT", "many")
    with pytest.raises(LaunchError, match=r"(?s)BRAIN_EVENTS_PORT.*BRAIN_EVENTS_METRICS_PORT"):
        settings.load()


def test_two_services_on_one_port_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAIN_EVENTS_PORT", "7000")
    monkeypatch.setenv("BRAIN_EVENTS_METRICS_PORT", "7000")
    with pytest.raises(
        LaunchError, match=r"BRAIN_EVENTS_PORT and BRAIN_EVENTS_METRICS_PORT are the same, 127\.0\.0\.1:7000"
    ):
        settings.load()


def chosen_with(**given: object) -> settings.LocalSettings:
    return settings.LocalSettings(**given)  # type: ignore[arg-type]  # any field


def test_replicas_listen_ten_ports_apart_behind_one_address() -> None:
    chosen = chosen_with(replicas=3, alerts_port=7000, experiments_flagd_port=8013)
    assert chosen.address_of("alerts") == "127.0.0.1:7000,127.0.0.1:7010,127.0.0.1:7020"
    assert [each.label for each in chosen.services()][:4] == ["events", "events.2", "events.3", "experiments"]
    third = chosen.services()[5]
    assert third.chosen_by() == {
        "BRAIN_EXPERIMENTS_PORT + 20": "127.0.0.1:50072",
        "BRAIN_EXPERIMENTS_METRICS_PORT + 20": "127.0.0.1:9122",
        "BRAIN_EXPERIMENTS_FLAGD_PORT + 20": "127.0.0.1:8033",
    }


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("BRAIN_FUNNELS_PORT", "50061", "BRAIN_EVENTS_PORT \\+ 10 and BRAIN_FUNNELS_PORT are the same"),
        ("BRAIN_ALERTS_PORT", "65530", "BRAIN_ALERTS_PORT \\+ 10 is 127.0.0.1:65540, beyond the last port"),
        ("BRAIN_HOST", "localhost", "BRAIN_HOST must be an IP address"),
    ],
)
def test_addresses_that_replicas_cannot_have_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)
    settings.load()
    monkeypatch.setenv("BRAIN_REPLICAS", "2")
    with pytest.raises(LaunchError, match=complaint):
        settings.load()


def test_the_holder_of_a_lock_is_known(scratch_directory: Path) -> None:
    path = scratch_directory / "held.lock"
    assert locks.holder(path) is None
    held = locks.take(path, "the suite")
    assert locks.holder(path) == os.getpid()
    os.close(held)
    assert locks.holder(path) is None


def test_want_of_disk_space_is_told_before_the_start(scratch_directory: Path) -> None:
    def started(mebibytes: int) -> suite.Suite:
        chosen = settings.LocalSettings(directory=scratch_directory / "missing", max_wal_mebibytes=mebibytes)
        return suite.Suite(chosen, lambda: True)

    assert started(64).shortage() is None
    short = started(10**9)
    assert "events are refused while it is less than 1953125.0" in str(short.shortage())
    local.tell_shortage(short, demo=False)
    with pytest.raises(LaunchError, match="BRAIN_MAX_WAL_MEBIBYTES"):
        local.tell_shortage(short, demo=True)


def test_other_systems_are_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        LaunchError, match="needs Linux, whose kernel ends children with their parent; this is darwin"
    ):
        local.refuse_other_systems()
    with pytest.raises(SystemExit, match="need Linux; this is darwin"):
        child.main()


def test_the_directory_of_the_suite_lists_itself_to_nobody_else(scratch_directory: Path) -> None:
    directory = scratch_directory / "deep" / "brain"
    suite.make_directory(directory)
    others_may = stat.S_IMODE(directory.stat().st_mode) & 0o077
    assert others_may == (0o011 if os.geteuid() == 0 else 0)
    assert stat.S_IMODE((directory / "logs").stat().st_mode) == 0o700


def test_a_setting_that_is_already_in_the_environment_is_refused(
    scratch_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "postgresql://elsewhere/brain")
    service = settings.Service("events", "127.0.0.1:1", "127.0.0.1:2", "services.events")
    process = processes.ServiceProcess(service, scratch_directory / "events.log")
    with pytest.raises(LaunchError, match="unset EVENTS_DATABASE_URL"):
        process.start({"EVENTS_DATABASE_URL": "postgresql://here/brain"})
    monkeypatch.setenv("EVENTS_TLS_KEY_FILE", "/key.pem")
    with pytest.raises(LaunchError, match="unset EVENTS_TLS_KEY_FILE"):
        process.start({})
    assert not process.is_running()
