import os
import subprocess
import sys

from benchmarks.soak import footprint

MEBIBYTE = 2**20
MEMORY = "bytearray(os.urandom(1)) * {}"
DESCRIPTORS = "[os.open(os.devnull, os.O_RDONLY) for _ in range({})]"


def holding(what: str, size: int) -> "subprocess.Popen[bytes]":
    program = f"import os, sys; held = {what.format(size)}; print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_child_holds_is_told() -> None:
    with holding(MEMORY, MEBIBYTE) as small, holding(MEMORY, 65 * MEBIBYTE) as large:
        found = footprint.of_suite(os.getpid())
        children = found[footprint.LOG_WRITERS]
        assert children.processes >= 2
        assert children.threads >= 2
        assert children.descriptors >= 6
        parts = {pid: footprint.of_process(pid) for pid in (small.pid, large.pid)}
        more = parts[large.pid].private - parts[small.pid].private
        assert abs(more - 64 * MEBIBYTE) < 2 * MEBIBYTE
        assert parts[large.pid].private <= parts[large.pid].proportional <= parts[large.pid].resident


def test_descriptors_and_threads_of_a_process_are_counted() -> None:
    """Of others: servers of other tests open and close theirs in this one."""
    with holding(DESCRIPTORS, 0) as few, holding(DESCRIPTORS, 7) as more:
        without, with_seven = (footprint.of_process(each.pid) for each in (few, more))
    assert with_seven.descriptors == without.descriptors + 7
    assert with_seven.threads == without.threads == 1
