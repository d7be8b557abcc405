"""Running commands of this machine, and waiting for conditions with a deadline."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence

from lab.errors import LabError


def run(command: Sequence[str], *, timeout: float, hint: str, env: dict[str, str] | None = None) -> str:
    """Run a command, return its standard output; raise one line with a hint if it fails."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed; {hint}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command[:3])} took longer than {timeout:.0f} s; {hint}") from error
    if done.returncode != 0:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LabError(f"{' '.join(command[:3])} failed ({done.returncode}): {tail}; {hint}")
    return done.stdout


def apt_install(packages: Sequence[str]) -> None:
    """Install packages of this machine's own distribution."""
    hint = f"install {' '.join(packages)} by hand and run this again"
    if os.geteuid() != 0:
        raise LabError(f"{' '.join(packages)} missing and not root; {hint}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *packages]
    run(["apt-get", "update", "-q"], timeout=300, hint=hint, env=quiet)
    run(command, timeout=600, hint=hint, env=quiet)


def wait_until(
    condition: Callable[[], bool], *, deadline: float, what: str, hint: str | Callable[[], str], every: float = 0.2
) -> None:
    """Poll until the condition holds; after `deadline` seconds raise, with the hint as it is then."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() >= end:
            raise LabError(f"{what}: not within {deadline:.0f} s; {hint if isinstance(hint, str) else hint()}")
        time.sleep(every)
