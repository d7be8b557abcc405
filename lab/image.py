"""The hosts' image: made once for each recipe, with mmdebstrap or from a base image."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import docker.errors
from docker import DockerClient

from lab import engine, mirror
from lab.config import Config
from lab.errors import LabError
from lab.process import apt_install, run
from lab.progress import say

RECIPE = Path(__file__).resolve().parent / "image"
REPOSITORY = "mysql-ha-lab"
LABEL = "lossless.mysql_ha.lab.image"
_INIT = "/usr/local/sbin/lab-init"
_CHANGES = [f'ENTRYPOINT ["{_INIT}"]', f"LABEL {LABEL}=1"]


def tag(config: Config) -> str:
    """Name of the image: changes when the recipe does. Clones with the same recipe share it."""
    digest = hashlib.sha256(f"{config.base_image}\0{config.suite}\0{_CHANGES}".encode())
    for path in sorted(RECIPE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def exists(client: DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def ensure(client: DockerClient, config: Config) -> str:
    """Build the image if this recipe has none yet."""
    name = tag(config)
    if exists(client, name):
        return name
    with engine.machine_lock("image"):
        if exists(client, name):
            return name
        if config.base_image:
            _build(client, config, name)
        else:
            _bootstrap(client, config, name)
    say(f"image {name} is ready")
    return name


def _bootstrap(client: DockerClient, config: Config, name: str) -> None:
    if not shutil.which("mmdebstrap"):
        say("installing mmdebstrap")
        apt_install(["mmdebstrap"])
    source = config.mirror or mirror.of_this_machine()
    config.state.mkdir(parents=True, exist_ok=True)
    tar = config.state / "image.tar"
    packages = ",".join((RECIPE / "packages.txt").read_text().split())
    options = ['APT::Install-Recommends "false"', 'Acquire::Check-Valid-Until "false"', *mirror.proxy_options()]
    say(f"building the image: Debian {config.suite} with mmdebstrap (about a minute)")
    try:
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={packages}",
                *[f"--aptopt={option}" for option in options],
                f"--customize-hook=copy-in {RECIPE / 'finish'} /tmp",
                f"--customize-hook=copy-in {RECIPE / 'lab-init'} /usr/local/sbin",
                '--customize-hook=chroot "$1" sh /tmp/finish',
                '--customize-hook=rm "$1/tmp/finish"',
                config.suite,
                str(tar),
                source,
            ],
            timeout=900,
            hint="is the mirror reachable and does it carry this suite? set LAB_MIRROR / LAB_SUITE",
        )
        say(f"importing the image ({tar.stat().st_size // 1_000_000} MB)")
        repository, _colon, version = name.partition(":")
        client.api.import_image_from_file(str(tar), repository=repository, tag=version, changes=_CHANGES)
    finally:
        tar.unlink(missing_ok=True)


def _build(client: DockerClient, config: Config, name: str) -> None:
    say(f"building the image from {config.base_image}")
    try:
        client.images.build(
            path=str(RECIPE),
            tag=name,
            buildargs={"BASE": config.base_image, "MIRROR": config.mirror, "SUITE": config.suite},
            labels={LABEL: "1"},
            rm=True,
            forcerm=True,
        )
    except docker.errors.BuildError as error:
        tail = " | ".join(str(part.get("stream", "")).strip() for part in list(error.build_log)[-3:])
        raise LabError(f"image build failed: {error.msg}: {tail}; check LAB_BASE_IMAGE and LAB_MIRROR") from error
    except docker.errors.APIError as error:
        raise LabError(f"image build failed: {error.explanation}; check LAB_BASE_IMAGE") from error


def purge(client: DockerClient) -> None:
    """Remove every lab image that no container uses."""
    for image in client.images.list(filters={"label": LABEL}):
        try:
            client.images.remove(str(image.id))
            say(f"removed image {image.tags}")
        except docker.errors.APIError as error:
            say(f"image {image.tags} stays: {error.explanation}")
