import os
import subprocess
import sys

from benchmarks.soak import footprint
from tests.waiting import until

MEBIBYTE = 2**20
HOLDER = (
    "import os, sys; held = bytearray(os.urandom(1)) * {size}; print('ready', flush=True); sys.stdin.read()"
)


def holding(size: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", HOLDER.format(size=size)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_child_holds_is_told() -> None:
    with holding(MEBIBYTE) as small, holding(65 * MEBIBYTE) as large:
        found = footprint.of_suite(os.getpid())
        children = found[footprint.LOG_WRITERS]
        assert children.processes >= 2
        assert children.threads >= 2
        assert children.descriptors >= 6
        parts = {pid: footprint.of_process(pid) for pid in (small.pid, large.pid)}
        more = parts[large.pid].private - parts[small.pid].private
        assert abs(more - 64 * MEBIBYTE) < 2 * MEBIBYTE
        assert parts[large.pid].private <= parts[large.pid].proportional <= parts[large.pid].resident


def test_descriptors_and_threads_of_this_process_are_counted() -> None:
    before = footprint.of_process(os.getpid())
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    try:
        assert footprint.of_process(os.getpid()).descriptors == before.descriptors + 7
    finally:
        for each in opened:
            os.close(each)
    until(lambda: footprint.of_process(os.getpid()).descriptors <= before.descriptors)
