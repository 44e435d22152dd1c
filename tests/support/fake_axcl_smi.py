"""A stand-in for the vendor's `axcl-smi`, with its formats, its behaviour and its faults.

fake_axcl_smi.py FOLDER [ARGUMENTS]    plays the scenario that FOLDER/scenario names; a number after
the name is the pid that uses the card.  Every call appends a line to FOLDER/calls.

`lingering DELAY SECONDS` goes with a simulated runtime: a call takes DELAY seconds, and each pid in
FOLDER/users has its memory until SECONDS after its end.
"""

# ruff: noqa: E501 - lines copied from the tool must not be wrapped

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

RULE = "+" + "-" * 96 + "+"
COLUMNS = "+-----------------------------------------+--------------+" + "-" * 39 + "+"
HEAD = (
    "| Card  Name                     Firmware | Bus-Id       |                          Memory-Usage |",
    "| Fan   Temp                Pwr:Usage/Cap | CPU      NPU |                             CMM-Usage |",
    "|=========================================+==============+=======================================|",
)
PROCESSES = (
    "",
    RULE,
    "| Processes:" + " " * 85 + "|",
    "| Card      PID  Process Name                                                   NPU Memory Usage |",
    "|" + "=" * 96 + "|",
)
BUSY = "axcl-smi is already running, please try later.\n"
NO_DRIVER = (
    "\x1b[1;30;31m[08-11 16:01:16:933][E][smi][device_manager][  20]: axcl init fail, ret = 0x8030010b"
    "\x1b[0m\n[2025-08-11 16:01:16.933][2110][E][device manager][init][39]: open /dev/axcl_host fail, "
    "errno: 2 No such file or directory\n"
)
FORBIDDEN = NO_DRIVER.replace("errno: 2 No such file or directory", "errno: 13 Permission denied")
NO_CARD = (
    "[2025-08-11 16:01:16.933][2110][E][device manager][probe][104]: no device connected\n"
    "\x1b[1;30;31m[08-11 16:01:16:933][E][smi][device_manager][0020]: axcl init fail, ret = 0x80300181"
    "\x1b[0m\n"
)
DEAD = "[E][device manager][request_ports][464]: request ports from device 1 fail, errno: 1 Operation not permitted\n"


def head(version: str = "V3.6.4_20250805020145") -> str:
    left, right = f"AXCL-SMI  {version}", f"Driver  {version}"
    return "\n".join((RULE, f"| {left:<32}{' ' * 30}{right:>32} |", COLUMNS, *HEAD)) + "\n"


def card(
    index: int = 0,
    *,
    name: str = "AX650N",
    firmware: str = "V3.6.4",
    bus: str = "0001:01:00.0",
    temperature: str = "41C",
    npu: str = "0%",
    used: int = 18,
    total: int = 7040,
) -> str:
    """Return the two rows of a card and the rule below them, by the vendor's format strings."""
    return (
        f"| {index:4d}  {name:<16s} {firmware:>16s} | {bus:>12s} |           {149:8d} MiB / {945:8d} MiB |\n"
        f"| {'--':>4s}  {temperature:>4s} {'-- / --':>28s} | {'1%':<6s}{npu:>6s} |"
        f"           {used:8d} MiB / {total:8d} MiB |\n{COLUMNS}\n"
    )


def users(*rows: tuple[int, int, str, int]) -> str:
    """Return the list of processes, (card, pid, program, KiB) each.

    The tool prints the closing rule only if there is at least one.
    """
    lines = [
        *PROCESSES,
        *(f"| {c:4d} {pid:8d}  {path[:66]:<66s} {kib:8d} KiB |" for c, pid, path, kib in rows),
    ]
    return "\n".join([*lines, RULE] if rows else lines) + "\n"


PROGRAM = "/home/axera/samples/qwen3-4b/main_axcl_aarch64"
# Copied from a web page; which version of the tool printed it is not known.
SHIFTED = """\
| Card  Name                     Firmware                                     | Bus-Id       | Memory-Usage           |
| Fan   Temp                Pwr:Usage/Cap                                     | CPU      NPU | CMM-Usage              |
| =========================================+==============+======================================= |
| 0  AX650N                     V3.6.4                                        | 0001:01:00.0 | 149 MiB /      945 MiB |
| --   41C                      -- / --                                       | 1%        0% | 18 MiB /     7040 MiB  |
"""


def scenario(name: str, pid: int) -> str:
    """Return the output of the scenario `name`, in which `pid` uses the card."""
    full = card(temperature="37C", npu="35%", used=6348)
    texts = {
        "idle": head() + card() + users(),
        "loaded": head() + full + users((0, pid, PROGRAM, 4894032)),
        "leaked": head() + full + users(),
        "two": head() + full + card(1, bus="0000:03:00.0", temperature="38C") + users(),
        "second": head() + card(1, bus="0001:81:00.0", name="AX8850") + users(),
        "old": head("V2.18.0") + card(bus="0001:81:00.0", total=3072, used=22) + users(),
        "silent": head()
        + card(name="--", firmware="--", bus="--", temperature="--", npu="--", used=0, total=0),
        "hot": head() + card(temperature="96C") + users(),
        "shifted": SHIFTED,
        "busy": BUSY,
        "driverless": NO_DRIVER + head() + users(),
        "forbidden": FORBIDDEN + head() + users(),
        "cardless": NO_CARD + head() + users(),
        "dead": DEAD + head() + users(),
        "rowless": head() + users(),
        "garbage": "Segmentation fault\n",
    }
    return texts[name]


def reboot(arguments: list[str], version: str) -> str:
    """Return the output of `reboot -d N`; the meaning of N changed with V2.26."""
    number = int(arguments[arguments.index("-d") + 1])
    known = {"V2.18.0": 0x81}.get(version, 0)
    if number != known:
        return f"device index {number} is out of connected devices number 1\n"
    sys.stdout.write(f"Do you want to reboot device {number} ? (y/n): ")
    sys.stdout.flush()
    return f"reboot device {number} success\n" if sys.stdin.readline().strip() == "y" else ""


def lingering(folder: Path, seconds: float) -> str:
    """Return the summary while the pids in FOLDER/users run, and for `seconds` after their end."""
    known = folder / "users"
    pids = [int(line) for line in known.read_text().split()] if known.exists() else []
    listed = []
    for pid in pids:
        ended = folder / f"ended.{pid}"
        if not Path(f"/proc/{pid}").exists() and not ended.exists():
            ended.touch()
        if not ended.exists() or time.time() - ended.stat().st_mtime < seconds:
            listed.append((0, pid, PROGRAM, 4894032))
    return head() + card(used=6348 if listed else 18) + users(*listed)


def main() -> int:
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    name, _, pid = (folder / "scenario").read_text().strip().partition(" ")
    terminal = os.open("/dev/tty", os.O_RDWR) if os.path.exists("/dev/tty") and _has_tty() else None
    with (folder / "calls").open("a") as calls:
        calls.write(f"{arguments} stdin={os.isatty(0)} tty={terminal is not None}\n")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stdout.write(BUSY)
            return 0
        if name == "slow":
            time.sleep(0.3)
            name = "idle"
        if name == "lingering":
            delay, seconds = map(float, pid.split())
            time.sleep(delay)
            sys.stdout.write(lingering(folder, seconds))
            return 0
        if name in ("hang", "deaf"):
            if name == "deaf":
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.stdout.write(head())
            sys.stdout.flush()
            (folder / "hanging").write_text(str(os.getpid()))
            time.sleep(60)
        if name == "flood":
            while True:
                sys.stdout.write("x" * 65_536)
        version = "V2.18.0" if name == "old" else "V3.6.4"
        if arguments[:1] == ["reboot"]:
            sys.stdout.write(reboot(arguments, version))
        else:
            sys.stdout.write(scenario(name, int(pid or 84643)))
    return 0  # also on failure, like the vendor's


def _has_tty() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def note_user(folder: Path) -> str:
    """Return a shell command by which the program that it becomes uses the card of `folder`."""
    return f"echo $$ >> {folder}/users"


def install(folder: Path, name: str = "idle") -> Path:
    """Install this file as a program in `folder`; return the path of that."""
    program = folder / "axcl-smi"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -SE {Path(__file__).resolve()} {folder} "$@"\n'
    )
    program.chmod(0o755)
    (folder / "scenario").write_text(name)
    return program


if __name__ == "__main__":
    sys.exit(main())
