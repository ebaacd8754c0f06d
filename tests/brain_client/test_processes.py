"""The client at the end of programs and across forks, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.brain_client.memory_events import Running, Store


def run_program(code: str, address: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ADDRESS": address}
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_program_that_just_ends_has_its_events_stored(served: Running, store: Store) -> None:
    program = """
import os
from brain_client import Brain, Delivery
brain = Brain(os.environ["ADDRESS"], "secret", delivery=Delivery(linger_seconds=60))
for number in range(1_500):
    brain.track("viewed", session_id="s", user_id="u")
"""
    finished = run_program(program, served.address)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(store.events) == 1_500


def test_a_program_that_fails_has_its_events_stored(served: Running, store: Store) -> None:
    program = """
import os, sys
from brain_client import Brain
Brain(os.environ["ADDRESS"], "secret").track("viewed", session_id="s")
sys.exit("a mistake")
"""
    assert run_program(program, served.address).stderr == "a mistake\n"
    assert len(store.events) == 1


def test_a_client_made_before_a_fork_and_used_after_it_works(served: Running, store: Store) -> None:
    program = """
import os
from brain_client import Brain
brain = Brain(os.environ["ADDRESS"], "secret")
child = os.fork()
brain.track("child" if child == 0 else "parent", session_id="s")
brain.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    assert run_program(program, served.address).stderr == ""
    assert sorted(event.event for event in store.events.values()) == ["child", "parent"]


def test_a_client_used_before_a_fork_says_so_in_the_child(served: Running, store: Store) -> None:
    program = """
import os, sys
from brain_client import Brain
brain = Brain(os.environ["ADDRESS"], "secret")
brain.track("parent", session_id="s")
if (child := os.fork()) == 0:
    try:
        brain.track("child", session_id="s")
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
    brain.close()
    os._exit(0)
os.waitpid(child, 0)
"""
    assert "before the process forked" in run_program(program, served.address).stderr
    assert [event.event for event in store.events.values()] == ["parent"]
