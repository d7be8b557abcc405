"""Networks, volumes and containers of a lab: up, down, status."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import docker
import docker.errors
import docker.types
from docker import DockerClient
from docker.models.containers import Container
from docker.models.networks import Network

from lab import disks, image, keys, labels, network
from lab.config import MAX_DB_HOSTS, Config
from lab.errors import LabError
from lab.network import Addresses
from lab.process import run, wait_until
from lab.progress import say

UNIFIED = Path("/sys/fs/cgroup/unified")
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_NICE"]
BOOT_SECONDS = 90
_FRAME = struct.Struct(">B3xL")
"""The head of a piece of what a command writes: which stream it is of, and its length."""


@dataclass(frozen=True)
class HostStatus:
    """One line of `lab status`."""

    name: str
    address: str
    container: str
    system: str
    mysql: str


@dataclass(frozen=True)
class Recipe:
    """What every host of a lab is made with."""

    client: DockerClient
    image: str
    where: Addresses
    public_key: str


def names(client: DockerClient, config: Config) -> list[str]:
    """The hosts asked for and those that exist: a lab grows until `down`."""
    existing = {container.labels[labels.HOST] for container in containers(client, config)}
    return sorted(existing | set(config.host_names), key=lambda name: (not name.startswith("db"), name))


def containers(client: DockerClient, config: Config) -> list[Container]:
    return client.containers.list(all=True, filters=labels.selector(config), ignore_removed=True)


def container(client: DockerClient, config: Config, host: str) -> Container:
    """The container of a host that has to be there."""
    try:
        return client.containers.get(config.container(host))
    except docker.errors.NotFound as error:
        raise LabError(f"there is no host {host} in lab {config.name}; run: make lab-up") from error


def execute(target: Container, command: list[str], check: bool = True) -> str:
    """Run a command inside a host; return what it wrote."""
    if target.client is None:
        raise AssertionError("a container that did not come from an engine")
    api = target.client.api
    try:
        run = api.exec_create(target.id, command)["Id"]
        output = _start(api, run)
        code = api.exec_inspect(run)["ExitCode"]
    except docker.errors.APIError as error:
        raise LabError(f"{target.name}: cannot run {command[0]}: {error.explanation}; see: make lab-status") from error
    text = output.decode(errors="replace").strip()
    if check and code != 0:
        raise LabError(f"{target.name}: {' '.join(command)[:120]} failed ({code}): {text[-300:]}")
    return text


def _start(api: docker.APIClient, run: str) -> bytes:
    """Start what was created, and return all that it wrote, standard output and errors as they came.

    Not by the client's own ``exec_start``: it reads the socket past the buffer of the response, and loses whatever came
    together with its head: about one answer in 400 on a busy machine.
    """
    body = {"Detach": False, "Tty": False}
    answer = api.post(f"{api.base_url}/v{api.api_version}/exec/{run}/start", json=body)
    if not answer.ok:
        raise docker.errors.APIError(answer.reason, answer, answer.text)
    data, output = answer.content, b""
    while len(data) >= _FRAME.size:
        _stream, length = _FRAME.unpack_from(data)
        output += data[_FRAME.size : _FRAME.size + length]
        data = data[_FRAME.size + length :]
    return output


def addresses(net: Network) -> Addresses:
    """The addresses of a lab's network, as the engine has it."""
    pools = [pool["Subnet"] for pool in net.attrs["IPAM"]["Config"]]
    v6 = [IPv6Network(pool) for pool in pools if ":" in pool]
    return Addresses(v4=next(IPv4Network(pool) for pool in pools if ":" not in pool), v6=v6[0] if v6 else None)


def find_network(client: DockerClient, config: Config) -> Network | None:
    found = client.networks.list(names=[config.name], filters=labels.selector(config))
    return found[0] if found else None


def ensure_network(client: DockerClient, config: Config) -> Network:
    """The lab's network: the first free /24, with IPv6 where the engine can."""
    found = find_network(client, config)
    if found is not None:
        return found
    wanted = [network.wanted_subnet(config.subnet)] if config.subnet else []
    candidates = wanted or network.free_subnets(_taken(client))
    ipv6: IPv6Network | None = network.ula(config.name)
    if not Path("/proc/net/if_inet6").exists():
        ipv6 = None
    last = "no subnet is free"
    for candidate in candidates[:16]:
        try:
            return _create_network(client, config, candidate, ipv6)
        except docker.errors.APIError as error:
            last = str(error.explanation)
            if ipv6 is not None and re.search("ipv6|ip6tables", last, re.IGNORECASE):
                say(f"no IPv6 in this lab: {last}")
                ipv6 = None
    raise LabError(f"cannot make a network ({last}); choose one: LAB_SUBNET=10.x.y.0/24")


def _taken(client: DockerClient) -> list[IPv4Network]:
    taken = network.routed(run(["ip", "-j", "-4", "route"], timeout=10, hint="install iproute2"))
    for net in client.networks.list():
        for pool in (net.attrs["IPAM"] or {}).get("Config") or []:
            if ":" not in pool["Subnet"]:
                taken.append(IPv4Network(pool["Subnet"]))
    return taken


def _create_network(client: DockerClient, config: Config, v4: IPv4Network, v6: IPv6Network | None) -> Network:
    pools = [docker.types.IPAMPool(subnet=str(v4), gateway=str(v4[1]))]
    if v6:
        pools.append(docker.types.IPAMPool(subnet=str(v6), gateway=str(v6[1])))
    say(f"network {config.name}: {v4}" + (f" and {v6}" if v6 else ""))
    return client.networks.create(
        config.name,
        driver="bridge",
        check_duplicate=True,
        enable_ipv6=v6 is not None,
        ipam=docker.types.IPAMConfig(pool_configs=pools),
        labels=labels.labels(config),
        options={"com.docker.network.driver.mtu": str(_mtu())},
    )


def _mtu() -> int:
    """No larger than the way out of this machine, or the package mirror would be out of reach."""
    sizes = [1500]
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            sizes.append(int(Path(f"/sys/class/net/{interface}/mtu").read_text()))
    return min(sizes)


def up(client: DockerClient, config: Config, write_inventory: Callable[[Addresses, list[str]], None]) -> None:
    """Bring every host up; what runs already is left alone, unless nobody can log in to it any more."""
    if not config.ssh_key.exists() and containers(client, config):
        # A checkout that was removed, and made again at the same path, without `make lab-down`.
        say("hosts of this lab are left over from before, and the key to them is gone: they are made anew")
        down(client, config)
    public_key = keys.ensure(config)
    image_name = image.ensure(client, config)
    net = ensure_network(client, config)
    net.reload()
    where = addresses(net)
    recipe = Recipe(client, image_name, where, public_key)
    hosts = names(client, config)
    for host in hosts:  # one at a time: mounting loops is not worth racing for
        if host.startswith("db"):
            disks.ensure(client, config, host)
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        list(pool.map(lambda host: _up_one(config, host, recipe), hosts))
    write_inventory(where, hosts)
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        list(pool.map(lambda host: wait_ready(client, config, host, where), hosts))
    say(f"{len(hosts)} hosts are up: {', '.join(hosts)}")


def _up_one(config: Config, host: str, recipe: Recipe) -> None:
    client = recipe.client
    try:
        target = client.containers.get(config.container(host))
    except docker.errors.NotFound:
        target = _create(config, host, recipe)
        install_key(target, recipe.public_key)
    target.reload()
    if target.attrs["Config"]["Image"] != recipe.image:
        say(f"{host} runs an older image ({target.attrs['Config']['Image']}); renew with: make lab-down lab-up")
    if target.status == "paused":
        target.unpause()
    elif target.status != "running":
        try:
            target.start()
        except docker.errors.APIError as error:
            raise LabError(f"{host} does not start: {error.explanation}; try: make lab-down lab-up") from error
        say(f"{host} starts ({recipe.where.host(host)})")


def _create(config: Config, host: str, recipe: Recipe) -> Container:
    client, where = recipe.client, recipe.where
    binds = []
    if host.startswith("db"):
        binds.append(f"{disks.ensure(client, config, host)}:/var/lib/mysql")
    if str(client.info().get("CgroupVersion", "1")) == "1":
        if not (UNIFIED / "cgroup.procs").exists():
            raise LabError(f"the engine uses cgroup v1 and there is no v2 tree at {UNIFIED}; boot with cgroup v2")
        binds.append(f"{UNIFIED}:/lab/cgroup2")
    everybody = [f"db{n}" for n in range(1, MAX_DB_HOSTS + 1)] + ["control1", "app1"]
    v6 = where.host6(host)
    endpoint = client.api.create_endpoint_config(
        ipv4_address=str(where.host(host)), ipv6_address=str(v6) if v6 else None, mac_address=where.mac(host)
    )
    made = client.api.create_container(
        recipe.image,
        name=config.container(host),
        hostname=host,
        environment={"LAB_CONTAINER": config.container(host), "container": "docker"},
        labels=labels.labels(config, host),
        stop_signal="SIGRTMIN+3",
        host_config=client.api.create_host_config(
            binds=binds,
            cap_add=CAPABILITIES,
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            tmpfs={"/run": "mode=755,exec", "/run/lock": "mode=1777", "/tmp": "mode=1777,exec"},
            network_mode=config.name,
            # Fixed names rather than Docker's DNS: that one forgets a host the moment it is gone.
            extra_hosts={other: str(where.host(other)) for other in everybody if other != host},
        ),
        networking_config=client.api.create_networking_config({config.name: endpoint}),  # type: ignore[arg-type]
    )
    return client.containers.get(made["Id"])


def install_key(target: Container, public_key: str) -> None:
    """Let the lab's key into root's account."""
    content = public_key.encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("authorized_keys")
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    target.put_archive("/root/.ssh", archive.getvalue())


def system_state(target: Container) -> str:
    return execute(target, ["systemctl", "is-system-running"], check=False).rpartition("\n")[2]


def ssh_command(config: Config, address: str) -> list[str]:
    return ["ssh", "-i", str(config.ssh_key), "-o", "BatchMode=yes", *keys.options(config), f"root@{address}"]


def wait_ready(client: DockerClient, config: Config, host: str, where: Addresses) -> None:
    """systemd has booted and SSH lets us in."""
    target = container(client, config, host)

    def booted() -> bool:
        target.reload()
        if target.status != "running":
            raise LabError(f"{host} ended while booting; read: docker logs {target.name}")
        return system_state(target) in ("running", "degraded")

    wait_until(
        booted, deadline=BOOT_SECONDS, what=f"{host} booting", hint=f"read: docker logs {target.name}", every=0.3
    )
    if system_state(target) == "degraded":
        failed = execute(target, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False)
        say(f"{host} is up, but not all of it: {' '.join(failed.split())}")
    login = [*ssh_command(config, str(where.host(host))), "-o", "ConnectTimeout=3", "true"]

    said = ""

    def lets_in() -> bool:
        nonlocal said
        done = subprocess.run(login, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
        said = " | ".join(done.stderr.split("\n")[-3:]).strip(" |")
        return done.returncode == 0

    wait_until(lets_in, deadline=30, what=f"SSH to {host}", hint=lambda: f"{said}; try: {' '.join(login)}")


def status(client: DockerClient, config: Config) -> list[HostStatus]:
    """What there is of the lab."""
    net = find_network(client, config)
    if net is None:
        return []
    net.reload()
    where = addresses(net)
    rows = []
    for target in sorted(containers(client, config), key=lambda item: str(item.name)):
        host = target.labels[labels.HOST]
        running = target.status == "running"
        system = system_state(target) if running else "-"
        mysql = "-"
        if running and host.startswith("db"):
            mysql = execute(target, ["systemctl", "is-active", "mysql"], check=False)
        rows.append(HostStatus(host, str(where.host(host)), str(target.status), system, mysql))
    return rows


def down(client: DockerClient, config: Config) -> None:
    """Remove every container, network and volume of this lab."""
    found = containers(client, config)
    if found:
        say(f"removing {len(found)} hosts")
        with ThreadPoolExecutor(max_workers=len(found)) as pool:
            list(pool.map(_remove, found))
    net = find_network(client, config)
    if net is not None:
        net.remove()
    disks.remove(client, config)
    _remove_cgroups(config)
    keys.forget(config)


def _remove(target: Container) -> None:
    try:
        target.remove(force=True, v=True)
    except docker.errors.NotFound:
        return


def _remove_cgroups(config: Config) -> None:
    for top in UNIFIED.glob(f"{config.name}-*"):
        try:
            for directory in sorted(top.rglob("*"), reverse=True):
                if directory.is_dir():
                    directory.rmdir()
            top.rmdir()
        except OSError as error:
            say(f"an empty control group stays: {error.filename} ({error.strerror})")
