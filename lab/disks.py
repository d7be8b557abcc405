"""Data volumes. A file system of its own with a limit where this machine can mount one; else a Docker volume."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import docker.errors
from docker import DockerClient

from lab.config import Config
from lab.errors import LabError
from lab.labels import labels, selector
from lab.process import run
from lab.progress import say

ROOT = Path("/var/lib/mysql-ha-lab")
"""Not under build/: tools that walk the checkout must not walk the servers' data."""


_MKFS = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal"]
"""No journal below the machine's own: with two, an fdatasync took four times as long (1,600/s against 5,000/s)."""


def image_file(config: Config, host: str) -> Path:
    return ROOT / config.name / f"{host}.img"


def mount_point(config: Config, host: str) -> Path:
    return ROOT / config.name / host


def kind(config: Config) -> str:
    """'loop' where root can mount a file system for the engine, else 'volume'."""
    if config.disk != "auto":
        return config.disk
    able = os.geteuid() == 0 and not os.environ.get("DOCKER_HOST") and Path("/dev/loop-control").exists()
    return "loop" if able and shutil.which("mkfs.ext4") else "volume"


def ensure(client: DockerClient, config: Config, host: str) -> str:
    """Make the host's data volume; return what to give to Docker as the source of the bind."""
    existing = image_file(config, host).exists()
    if not existing and kind(config) == "volume":
        return _ensure_volume(client, config, host)
    try:
        return _ensure_loop(config, host)
    except LabError as error:
        if config.disk == "loop" or existing:
            raise
        say(f"{host}: no file system of its own ({error}); using a Docker volume, the disk_full fault will refuse")
        image_file(config, host).unlink(missing_ok=True)
        return _ensure_volume(client, config, host)


def _ensure_volume(client: DockerClient, config: Config, host: str) -> str:
    name = config.container(host)
    try:
        client.volumes.get(name)
    except docker.errors.NotFound:
        client.volumes.create(name, labels=labels(config, host))
    return name


def _ensure_loop(config: Config, host: str) -> str:
    image, mounted = image_file(config, host), mount_point(config, host)
    mounted.mkdir(parents=True, exist_ok=True)
    if not image.exists():
        fresh = image.with_suffix(".new")
        run(["truncate", "-s", config.disk_size, str(fresh)], timeout=30, hint="check LAB_DISK_SIZE, write it like 16G")
        run(_MKFS + [str(fresh)], timeout=120, hint="try LAB_DISK=volume")
        fresh.rename(image)
    if not mounted.is_mount():
        run(["mount", "-o", "loop", str(image), str(mounted)], timeout=60, hint="try LAB_DISK=volume")
    data = mounted / "data"  # a directory below, so that no lost+found lies in the data directory
    data.mkdir(exist_ok=True)
    return str(data)


def remove(client: DockerClient, config: Config) -> None:
    """Remove every data volume of this lab."""
    for volume in client.volumes.list(filters=selector(config)):
        volume.remove(force=True)
    remove_loops(config)


def remove_loops(config: Config) -> None:
    directory = ROOT / config.name
    if not directory.is_dir():
        return
    for mounted in sorted(path for path in directory.iterdir() if path.is_dir()):
        if mounted.is_mount():
            run(["umount", str(mounted)], timeout=60, hint=f"who uses it? fuser -vm {mounted}")
    shutil.rmtree(directory)
