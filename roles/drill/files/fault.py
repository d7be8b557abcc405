# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault on this host, made on purpose, and its way back.

Usage: ``fault.py --config FILE``, as root on the database host. Input, a JSON object:

    fault                   mysqld_kill, mysqld_kill_no_restart, mysqld_hang, semi_sync_off, mysqld_stop
    action                  inject or heal
    unit                    the systemd unit of mysqld
    socket                  mysqld's socket, for semi_sync_off; root logs in through it

Output: one JSON object, {"fault", "action", "at", "pid"}; ``at`` in wall-clock seconds, taken just before the fault.

    mysqld_kill             SIGKILL; systemd starts it again by its own rules
    mysqld_kill_no_restart  SIGKILL, and systemd is told not to start it again until it is healed
    mysqld_hang             SIGSTOP: connections stay open and nothing answers. Its way back is SIGKILL and a start:
                            a deposed primary that woke up with commits still waiting could not be fenced by SQL
    semi_sync_off           the primary stops waiting for acknowledgements: nothing is proven any more
    mysqld_stop             a clean stop through systemd, with the guarded stop path

Each fault is looked at after it was made. Exit status: 0 done; 1 it had no effect or could not be done; 2 bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

DROP_IN = "/run/systemd/system/{unit}.service.d/50-lossless-drill-no-restart.conf"
DEADLINE = 120.0


class FaultFailed(Exception):
    """The fault, or its way back, had no effect."""


def systemctl(*arguments: str) -> str:
    """Run systemctl; its output without the line end."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False, timeout=DEADLINE)
    if done.returncode:
        raise FaultFailed(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def main_pid(unit: str) -> int:
    """The process id of mysqld, 0 when it does not run."""
    return int(systemctl("show", "--property=MainPID", "--value", unit) or 0)


def alive(pid: int) -> bool:
    """Whether this process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition.

    :raises FaultFailed: when it does not come true within the deadline.
    """
    ends = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > ends:
            raise FaultFailed(f"{what}: not within {DEADLINE:g} s")
        time.sleep(0.02)


def running_pid(unit: str) -> int:
    pid = main_pid(unit)
    if not pid:
        raise FaultFailed(f"{unit} does not run")
    return pid


def kill(unit: str, restart: bool) -> dict[str, float]:
    pid = running_pid(unit)
    if not restart:
        path = Path(DROP_IN.format(unit=unit))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[Service]\nRestart=no\n", encoding="ascii")
        systemctl("daemon-reload")
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), f"process {pid} to end")
    return {"at": at, "pid": pid}


def start_again(unit: str) -> dict[str, float]:
    path = Path(DROP_IN.format(unit=unit))
    if path.exists():
        path.unlink()
        systemctl("daemon-reload")
    at = time.time()
    systemctl("reset-failed", unit)
    systemctl("start", unit)
    return {"at": at, "pid": running_pid(unit)}


def hang(unit: str) -> dict[str, float]:
    pid = running_pid(unit)
    at = time.time()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stopped(pid), "mysqld to be stopped")
    return {"at": at, "pid": pid}


def end_hang(unit: str) -> dict[str, float]:
    kill(unit, restart=False)
    return start_again(unit)


def semi_sync(socket: str, on: bool) -> dict[str, float]:
    """Switch the source side. Healing leaves it to the replication role to arm it again, which also proves it."""
    import pymysql

    connection = pymysql.connect(unix_socket=socket, user="root", connect_timeout=5, read_timeout=5)
    try:
        with connection.cursor() as cursor:
            at = time.time()
            if not on:
                cursor.execute("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
                cursor.execute("SELECT @@GLOBAL.rpl_semi_sync_source_enabled")
                row = cursor.fetchone()
                if row is None or row[0]:
                    raise FaultFailed("semi-sync is still on")
    finally:
        connection.close()
    return {"at": at, "pid": 0}


def stop(unit: str) -> dict[str, float]:
    pid = running_pid(unit)
    at = time.time()
    systemctl("stop", unit)
    until(lambda: not alive(pid), f"process {pid} to end")
    return {"at": at, "pid": pid}


Work = Callable[[dict[str, Any]], dict[str, float]]

# The fault and its way back.
FAULTS: dict[str, tuple[Work, Work]] = {
    "mysqld_kill": (lambda c: kill(c["unit"], True), lambda c: start_again(c["unit"])),
    "mysqld_kill_no_restart": (lambda c: kill(c["unit"], False), lambda c: start_again(c["unit"])),
    "mysqld_hang": (lambda c: hang(c["unit"]), lambda c: end_hang(c["unit"])),
    "semi_sync_off": (lambda c: semi_sync(c["socket"], False), lambda c: semi_sync(c["socket"], True)),
    "mysqld_stop": (lambda c: stop(c["unit"]), lambda c: start_again(c["unit"])),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="A fault on this host, made on purpose, and its way back.")
    parser.add_argument("--config", required=True)
    try:
        config = json.loads(Path(parser.parse_args().config).read_text(encoding="utf-8"))
        inject, heal = FAULTS[config["fault"]]
        work = {"inject": inject, "heal": heal}[config["action"]]
    except (OSError, ValueError, KeyError) as error:
        print(f"bad configuration: {error!r}", file=sys.stderr)
        return 2
    try:
        done = work(config)
    except (FaultFailed, OSError) as error:
        print(str(error), file=sys.stderr)
        return 1
    print(json.dumps({"fault": config["fault"], "action": config["action"], **done}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
