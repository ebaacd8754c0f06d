"""Become a child process that dies with its parent, as another user where asked, then run a program.

    python -I -S child.py --parent PID --signal N [--uid N --gid N] -- program argument…

Run as a script of its own rather than as `preexec_fn`: the parent has threads, and Python code between fork
and exec may then deadlock.
"""

import argparse
import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilityData(ctypes.Structure):
    """`struct __user_cap_data_struct` of capset(2): one for each 32 capabilities."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main() -> None:
    """Set the process up as the arguments say and replace it with the program."""
    if sys.platform != "linux":
        sys.exit(f"child processes that end with their parent need Linux; this is {sys.platform}")
    arguments = parse(sys.argv[1:])
    os.setsid()  # Ctrl-C at the terminal reaches the launcher alone, which stops its children in order
    if arguments.uid is not None:
        become(arguments.uid, arguments.gid, arguments.program[0], arguments.reach)
    # After the change of user, which clears it.
    check(libc.prctl(PR_SET_PDEATHSIG, arguments.signal, 0, 0, 0), "PR_SET_PDEATHSIG")
    if os.getppid() != arguments.parent:
        sys.exit("the parent was gone before its child had started")
    os.execv(arguments.program[0], arguments.program)  # noqa: S606  # no shell is the point


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return parent, signal, uid, gid (ids are None to stay who we are), reach and program."""
    parser = argparse.ArgumentParser(prog="child")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--reach", action="append", default=[], help="a path the user must get to")
    parser.add_argument("program", nargs="+")
    return parser.parse_args(arguments)


def become(uid: int, gid: int, program: str, reach: list[str]) -> None:
    """Change to the user, with no group but `gid`; with CAP_DAC_OVERRIDE only if paths are closed to it."""
    closed = any(not reachable(Path(path), uid, gid) for path in (program, *reach))
    if closed:
        # access(2), which PostgreSQL asks about its own program, drops capabilities of ordinary users
        # unless this bit is set; it also keeps them through setuid.
        check(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "PR_SET_SECUREBITS")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if closed:
        keep_only(CAP_DAC_OVERRIDE)


def reachable(path: Path, uid: int, gid: int) -> bool:
    """Tell whether the user may search every directory above `path`."""
    return all(searchable(directory.stat(), uid, gid) for directory in path.resolve().parents)


def searchable(status: os.stat_result, uid: int, gid: int) -> bool:
    """Tell whether the user may search a directory, by its permission bits alone."""
    if status.st_uid == uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def keep_only(capability: int) -> None:
    """Drop every capability but one, and pass that one on to the program."""
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (CapabilityData * 2)(CapabilityData(bit, bit, bit), CapabilityData(0, 0, 0))
    check(libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "PR_CAP_AMBIENT_RAISE")


def check(result: int, call: str) -> None:
    """Exit with the system's reason if a call failed."""
    if result != 0:
        sys.exit(f"{call}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
