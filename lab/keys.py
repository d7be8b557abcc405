"""The lab's own SSH key pair. It lives in build/ and opens nothing but the lab."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.config import Config
from lab.process import apt_install, run


def ensure(config: Config) -> str:
    """Make the key pair if there is none; return the public key."""
    if not (shutil.which("ssh") and shutil.which("ssh-keygen")):
        apt_install(["openssh-client"])
    config.ssh_key.parent.mkdir(parents=True, exist_ok=True)
    if not config.ssh_key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", config.name, "-f", str(config.ssh_key)]
        run(command, timeout=30, hint=f"remove {config.ssh_key.parent} and run this again")
    return config.ssh_key.with_suffix(".pub").read_text()


def control_path_dir(config: Config) -> Path:
    """Where Ansible keeps its open connections. Short, since a socket's path has 108 bytes; one for each lab."""
    return Path("/tmp") / f".{config.name}-cp"


def forget(config: Config) -> None:
    """Close connections that Ansible kept open, forget host keys: the next lab's hosts are others."""
    directory = control_path_dir(config)
    if directory.is_dir():
        for socket in directory.iterdir():
            close = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "lab"]
            subprocess.run(close, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
        shutil.rmtree(directory, ignore_errors=True)
    (config.ssh_key.parent / "known_hosts").unlink(missing_ok=True)


def options(config: Config) -> list[str]:
    """ssh options that keep the user's own known_hosts out of it."""
    return [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        f"UserKnownHostsFile={config.ssh_key.parent / 'known_hosts'}",
        "-o",
        "LogLevel=ERROR",
    ]
