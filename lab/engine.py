"""A Docker engine: the one that answers, or one that we install and start (and then also stop)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import requests.exceptions
from docker import DockerClient

from lab.errors import LabError
from lab.process import apt_install, run, wait_until
from lab.progress import say

RUN_DIR = Path("/run/mysql-ha-lab")
"""Belongs to the machine, not to a clone: whichever lab goes last ends the engine that a lab started."""
LOG = Path("/var/log/mysql-ha-lab-dockerd.log")
HINT = f"read {LOG}"


def connect() -> DockerClient | None:
    """A client of the engine that answers, or None."""
    try:
        client = docker.from_env(version="auto", timeout=120)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError):
        return None
    return client


def require() -> DockerClient:
    client = connect()
    if client is None:
        raise LabError("no Docker engine answers; run: make lab-up")
    return client


@contextlib.contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """One lab at a time on this machine does the named thing."""
    directory = RUN_DIR if os.geteuid() == 0 else Path(f"/tmp/mysql-ha-lab-{os.getuid()}")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure() -> DockerClient:
    """Use the engine that answers; else install and start one."""
    client = connect()
    if client is not None:
        return client
    if os.environ.get("DOCKER_HOST"):
        raise LabError("DOCKER_HOST is set and nothing answers there; start that engine or unset DOCKER_HOST")
    if os.geteuid() != 0:
        raise LabError("no Docker engine answers; start yours, or run this as root so that the lab can start one")
    with machine_lock("engine"):
        client = connect()
        if client is not None:
            return client
        _install()
        client = connect()  # the package may have started it
        if client is not None:
            return client
        _start()
        client = connect()
    if client is None:
        raise LabError(f"the Docker engine was started and does not answer; {HINT}")
    return client


def _install() -> None:
    # One list: iptables is what dockerd cannot do without and does not always come with.
    missing = [
        package
        for package, program in (("docker.io", "dockerd"), ("iptables", "iptables"))
        if not shutil.which(program)
    ]
    if missing:
        say(f"no Docker engine answers: installing {' and '.join(missing)}")
        apt_install(missing)


def _start() -> None:
    if Path("/run/systemd/system").is_dir():
        say("starting the Docker engine (systemctl start docker)")
        run(["systemctl", "start", "docker"], timeout=120, hint="read: journalctl -u docker")
        return
    say(f"starting a Docker engine (log: {LOG})")
    with LOG.open("ab") as log:
        # pylint: disable=consider-using-with  # it has to outlive this process
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    _pid_file().write_text(f"{process.pid} {_start_time(process.pid)}\n")

    def answers() -> bool:
        if process.poll() is not None:
            raise LabError(f"dockerd ended at once with {process.returncode}; {HINT}")
        return connect() is not None

    wait_until(answers, deadline=60, what="Docker engine answering", hint=HINT)


def _pid_file() -> Path:
    return RUN_DIR / "dockerd.pid"


def _stat(pid: int) -> list[str]:
    """What /proc/PID/stat says after the name: the state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _start_time(pid: int) -> str:
    """Clock ticks after boot at which a process began: tells it from a later one with the same number."""
    return _stat(pid)[19]


def started_by_lab() -> int | None:
    """The pid of the engine that a lab started and that still runs."""
    try:
        pid, began = _pid_file().read_text().split()
        same = _alive(int(pid)) and _start_time(int(pid)) == began
    except (OSError, ValueError):
        return None
    return int(pid) if same else None


def stop_ours() -> None:
    """Stop the engine if a lab started it and nobody's container runs in it any more."""
    if os.geteuid() != 0:
        return
    with machine_lock("engine"):
        pid = started_by_lab()
        if pid is None:
            return
        client = connect()
        if client is not None:
            others = client.containers.list()
            client.close()
            if others:
                say(f"the engine stays: {len(others)} container(s) of others run in it")
                return
        say("stopping the Docker engine that the lab had started")
        os.kill(pid, signal.SIGTERM)
        wait_until(
            lambda: not _alive(pid), deadline=60, what="Docker engine stopping", hint=f"look at process {pid}; {HINT}"
        )
        _pid_file().unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return _stat(pid)[0] != "Z"  # ended, though nobody has collected it yet
    except (FileNotFoundError, ProcessLookupError):
        return False
