"""Faults by name, each with its way back, each looked at after it was injected.

A fault keeps no record on this machine: what it did stands in the host itself, so that `heal` works after
anything. `heal` may be called at any time and as often as one likes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker.errors
from docker import DockerClient
from docker.models.containers import Container

from lab import disks, engine, hosts
from lab.config import Config
from lab.errors import LabError
from lab.network import Addresses
from lab.process import wait_until

UNIT = "mysql.service"
DROP_INS = f"/run/systemd/system/{UNIT}.d"
NO_RESTART = f"{DROP_INS}/zz-lab-no-restart.conf"
CLOCK_FILE = "/run/lab-clock/offset"
CLOCK_DROP_IN = "zz-lab-clock.conf"
APPLIER_UNIT = "lab-applier-lock.service"
CONNECTIONS_UNIT = "lab-connections.service"
CLIENTS_UNIT = "lab-local-clients.service"
CLIENTS_NOTES = "/run/lab-local-clients"
CLIENTS_TABLE = "lab_local.entry"
LOCAL_CLIENTS = 4
TRANSACTION_UNIT = "lab-long-transaction.service"
ADDRESS_UNIT = "/etc/systemd/system/lab-address.service"
STOPPED_MARK = "/run/lab-mysqld-stopped"
SEMI_SYNC_MARK = "/run/lab-semi-sync-off"
AWAY = "_lab_away"
ERRANT_SCHEMA = "lab_errant"
SOCKET = "/run/mysqld/mysqld.sock"
EFFECT_SECONDS = 30
DEFAULT_STEP = 3600
DEFAULT_PERCENT = 90
DEFAULT_TABLE = "lossless_drill.ledger"


@dataclass(frozen=True)
class Lab:
    """A running lab."""

    client: DockerClient
    config: Config
    where: Addresses


@dataclass(frozen=True)
class Target:
    """One host and what the fault wants to know besides."""

    lab: Lab
    host: str
    peer: str | None = None
    direction: str = "both"
    seconds: int = DEFAULT_STEP
    percent: int = DEFAULT_PERCENT
    table: str = DEFAULT_TABLE

    @property
    def container(self) -> Container:
        return hosts.container(self.lab.client, self.lab.config, self.host)

    def run(self, *command: str, check: bool = True) -> str:
        return hosts.execute(self.container, list(command), check=check)

    def at(self, host: str) -> Target:
        return Target(self.lab, host)

    @property
    def running(self) -> bool:
        return self.container.status == "running"


@dataclass(frozen=True)
class Fault:
    """A fault: how it is done, how it is undone, what it is."""

    inject: Callable[[Target], None]
    heal: Callable[[Target], None]
    description: str
    takes: tuple[str, ...] = ()


# --- the server process ---------------------------------------------------------------------------------------------


def _property(target: Target, name: str) -> str:
    """What systemd says of mysqld's unit. While it reloads it may say nothing: then it is asked again."""
    said = [""]

    def answers() -> bool:
        said[0] = target.run("systemctl", "show", "-P", name, UNIT, check=False)
        return bool(said[0])

    wait_until(
        answers,
        deadline=EFFECT_SECONDS,
        what=f"{name} of {UNIT} on {target.host}",
        hint=f"python -m lab exec {target.host} -- systemctl status mysql",
        every=0.1,
    )
    return said[0]


def _main_pid(target: Target) -> int:
    return int(_property(target, "MainPID"))


def _running_pid(target: Target) -> int:
    pid = _main_pid(target)
    if not pid:
        raise LabError(f"mysqld does not run on {target.host}; start it first (make lab-status)")
    return pid


def _process_state(target: Target, pid: int) -> str:
    """The letter of /proc/PID/stat; empty when there is no such process."""
    stat = target.run("cat", f"/proc/{pid}/stat", check=False)
    return stat.rpartition(")")[2].split()[0] if ")" in stat else ""


def _signal(target: Target, name: str) -> None:
    target.run("systemctl", "kill", "--kill-whom=main", f"--signal={name}", UNIT)


def _kill(target: Target) -> None:
    pid = _running_pid(target)
    _signal(target, "KILL")
    wait_until(
        lambda: _process_state(target, pid) in ("", "Z"),
        deadline=EFFECT_SECONDS,
        what=f"mysqld on {target.host} dying of SIGKILL",
        hint=f"python -m lab exec {target.host} -- systemctl status mysql",
        every=0.05,
    )


def mysqld_kill(target: Target) -> None:
    if _property(target, "Restart") == "no":
        raise LabError(f"{UNIT} on {target.host} has Restart=no: use mysqld_kill_no_restart, or heal first")
    _kill(target)


def mysqld_kill_no_restart(target: Target) -> None:
    _running_pid(target)
    target.run("sh", "-c", f"mkdir -p {DROP_INS} && printf '[Service]\\nRestart=no\\n' >{NO_RESTART}")
    target.run("systemctl", "daemon-reload")
    restart = _property(target, "Restart")
    if restart != "no":
        raise LabError(f"{UNIT} on {target.host} still has Restart={restart}: a drop-in later than {NO_RESTART}?")
    _kill(target)


def heal_mysqld(target: Target) -> None:
    """Start what a kill left dead. A server that nobody killed is left as it is."""
    if not target.running:
        return
    held = target.run("sh", "-c", f"test -e {NO_RESTART} && echo held", check=False) == "held"
    if held:
        target.run("rm", "-f", NO_RESTART)
        target.run("systemctl", "daemon-reload")
    if held or target.run("systemctl", "is-failed", UNIT, check=False) == "failed":
        target.run("systemctl", "reset-failed", UNIT, check=False)
        target.run("systemctl", "start", UNIT)


def mysqld_stop(target: Target) -> None:
    pid = _running_pid(target)
    target.run("sh", "-c", f"touch {STOPPED_MARK} && systemctl stop {UNIT}")
    if _process_state(target, pid) not in ("", "Z"):
        raise LabError(f"mysqld on {target.host} still runs after systemctl stop; read: journalctl -u {UNIT}")


def heal_mysqld_stop(target: Target) -> None:
    if not target.running:
        return
    if target.run("sh", "-c", f"rm {STOPPED_MARK} 2>/dev/null && echo stopped", check=False) == "stopped":
        target.run("systemctl", "reset-failed", UNIT, check=False)
        target.run("systemctl", "start", UNIT)


def hang(target: Target) -> None:
    pid = _running_pid(target)
    _signal(target, "STOP")
    wait_until(
        lambda: _process_state(target, pid) == "T",
        deadline=EFFECT_SECONDS,
        what=f"mysqld on {target.host} stopping",
        hint="heal and try again",
        every=0.05,
    )


def heal_hang(target: Target) -> None:
    if target.running:
        pid = _main_pid(target)
        if pid and _process_state(target, pid) == "T":
            _signal(target, "CONT")


# --- the host -------------------------------------------------------------------------------------------------------


def _expect_running(target: Target) -> None:
    if not target.running:
        raise LabError(f"{target.host} is {target.container.status} already; heal it first")


def host_gone(target: Target) -> None:
    _expect_running(target)
    target.container.kill(signal="SIGKILL")
    wait_until(
        lambda: target.container.status == "exited",
        deadline=EFFECT_SECONDS,
        what=f"{target.host} going",
        hint="see: make lab-status",
    )


def heal_host_gone(target: Target) -> None:
    if target.container.status in ("exited", "created"):
        target.container.start()
        hosts.wait_ready(target.lab.client, target.lab.config, target.host, target.lab.where)


def host_frozen(target: Target) -> None:
    _expect_running(target)
    target.container.pause()
    if target.container.status != "paused":
        raise LabError(f"{target.host} did not freeze; see: make lab-status")


def heal_host_frozen(target: Target) -> None:
    if target.container.status == "paused":
        target.container.unpause()


# --- the network ----------------------------------------------------------------------------------------------------
# Rules hang on the interface itself (netdev), so that they cut everything: IPv4, IPv6, ARP and with it the
# announcements of the virtual address. Each direction is cut where it arrives.

CUT_TABLE = "lab_cut"
ISOLATE_TABLE = "lab_isolate"
REPLICATION_TABLE = "lab_replication"
ANNOUNCEMENT_TABLE = "lab_announcement"


def _nft(target: Target, script: str) -> None:
    target.run("nft", script)


def _drop_table(target: Target, table: str) -> None:
    _nft(target, f"add table netdev {table}; delete table netdev {table}")


def _block_from(receiver: Target, sender: Target) -> None:
    mac = receiver.lab.where.mac(sender.host)
    if CUT_TABLE not in receiver.run("nft", "list", "tables", "netdev"):
        _nft(
            receiver,
            f"add table netdev {CUT_TABLE};"
            f"add set netdev {CUT_TABLE} senders {{ type ether_addr; }};"
            f"add chain netdev {CUT_TABLE} arriving {{ type filter hook ingress device eth0 priority -500; }};"
            f"add rule netdev {CUT_TABLE} arriving ether saddr @senders counter drop",
        )
    _nft(receiver, f"add element netdev {CUT_TABLE} senders {{ {mac} }}")
    before = _dropped(receiver)
    # Something that must not arrive: an echo request, with the ARP question before it.
    sender.run("ping", "-c", "1", "-W", "0.2", str(sender.lab.where.host(receiver.host)), check=False)
    if _dropped(receiver) == before:
        raise LabError(f"cut {sender.host}->{receiver.host} had no effect; heal, then look at: nft list ruleset")


def _dropped(receiver: Target) -> int:
    """How many packets the cut has stopped. What a command in a container says may be lost: then it is asked again."""
    words: list[str] = []

    def answers() -> bool:
        words[:] = receiver.run("nft", "list", "chain", "netdev", CUT_TABLE, "arriving").split()
        return "packets" in words

    wait_until(
        answers,
        deadline=EFFECT_SECONDS,
        what=f"the chain of the cut on {receiver.host}",
        hint=f"python -m lab exec {receiver.host} -- nft list ruleset",
        every=0.1,
    )
    return int(words[words.index("packets") + 1])


def cut(target: Target) -> None:
    if not target.peer:
        raise LabError("cut needs the other host: --peer db2")
    if target.peer == target.host:
        raise LabError("cut needs two hosts; --peer is the same one")
    peer = target.at(target.peer)
    for each in (target, peer):
        _expect_running(each)
    if target.direction in ("both", "out"):
        _block_from(peer, target)
    if target.direction in ("both", "in"):
        _block_from(target, peer)


def heal_cut(target: Target) -> None:
    """Everything arrives at this host again, and what it sends arrives everywhere."""
    if target.running:
        _drop_table(target, CUT_TABLE)
    mac = target.lab.where.mac(target.host)
    for host in hosts.names(target.lab.client, target.lab.config):
        other = target.at(host)
        if host != target.host and other.running and CUT_TABLE in other.run("nft", "list", "tables", "netdev"):
            senders = other.run("nft", "list", "set", "netdev", CUT_TABLE, "senders")
            if mac in senders:
                _nft(other, f"delete element netdev {CUT_TABLE} senders {{ {mac} }}")


def replication_cut(target: Target) -> None:
    """Between one database host and all others; everybody else reaches all of them."""
    _expect_running(target)
    _drop_table(target, REPLICATION_TABLE)
    others = [name for name in target.lab.config.db_names if name != target.host]
    macs = ", ".join(target.lab.where.mac(name) for name in others)
    script = [f"add table netdev {REPLICATION_TABLE}"]
    for chain, hook, side in (("arriving", "ingress", "saddr"), ("leaving", "egress", "daddr")):
        script += [
            f"add chain netdev {REPLICATION_TABLE} {chain} {{ type filter hook {hook} device eth0 priority -300; }}",
            f"add rule netdev {REPLICATION_TABLE} {chain} ether {side} {{ {macs} }} counter drop",
        ]
    _nft(target, ";".join(script))
    for name in others:
        answer = target.run("ping", "-c", "1", "-W", "0.2", str(target.lab.where.host(name)), check=False)
        if " 0% packet loss" in answer:
            raise LabError(f"{name} still answers {target.host}; heal, then look at: nft list ruleset")


def heal_replication_cut(target: Target) -> None:
    if target.running:
        _drop_table(target, REPLICATION_TABLE)


def announcement_lost(target: Target) -> None:
    """Gratuitous ARP and unsolicited advertisements of the virtual addresses do not arrive; answers to questions do."""
    _expect_running(target)
    _drop_table(target, ANNOUNCEMENT_TABLE)
    script = [
        f"add table netdev {ANNOUNCEMENT_TABLE}",
        f"add chain netdev {ANNOUNCEMENT_TABLE} arriving {{ type filter hook ingress device eth0 priority -200; }}",
    ]
    for address in target.lab.where.vips:
        if ":" in address:
            what = f"ip6 daddr ff02::/16 icmpv6 type nd-neighbor-advert icmpv6 taddr {address}"
        else:
            what = f"ether daddr ff:ff:ff:ff:ff:ff arp saddr ip {address}"
        script.append(f"add rule netdev {ANNOUNCEMENT_TABLE} arriving {what} counter drop")
    _nft(target, ";".join(script))
    rules = target.run("nft", "list", "chain", "netdev", ANNOUNCEMENT_TABLE, "arriving").count("drop")
    if rules != len(target.lab.where.vips):
        raise LabError(f"{rules} rules on {target.host}; heal, then look at: nft list ruleset")


def heal_announcement_lost(target: Target) -> None:
    if target.running:
        _drop_table(target, ANNOUNCEMENT_TABLE)


def address_at_boot(target: Target) -> None:
    """From its next boot on, the first virtual address is configured on this host, for ever and by nobody's lease."""
    _expect_running(target)
    address = target.lab.where.vips[0]
    text = (
        "[Unit]\\nBefore=network-online.target\\n[Service]\\nType=oneshot\\n"
        f"ExecStart=/usr/bin/env ip address replace {address}/32 dev eth0\\n[Install]\\nWantedBy=multi-user.target\\n"
    )
    target.run("sh", "-c", f"printf '{text}' >{ADDRESS_UNIT} && systemctl daemon-reload")
    target.run("systemctl", "enable", ADDRESS_UNIT.rpartition("/")[2])


def heal_address_at_boot(target: Target) -> None:
    """Only what stands there for ever: an address with a lifetime is a keeper's."""
    if not target.running:
        return
    if target.run("sh", "-c", f"test -e {ADDRESS_UNIT} && echo there", check=False) == "there":
        target.run("systemctl", "disable", ADDRESS_UNIT.rpartition("/")[2])
        target.run("sh", "-c", f"rm {ADDRESS_UNIT} && systemctl daemon-reload")
    address = target.lab.where.vips[0]
    if "valid_lft forever" in target.run("ip", "-o", "address", "show", "dev", "eth0", "to", address):
        target.run("ip", "address", "delete", f"{address}/32", "dev", "eth0", check=False)


def _isolate(target: Target, arriving: list[str], leaving: list[str]) -> None:
    _expect_running(target)
    _drop_table(target, ISOLATE_TABLE)
    script = [f"add table netdev {ISOLATE_TABLE}"]
    for chain, hook, allowed in (("arriving", "ingress", arriving), ("leaving", "egress", leaving)):
        script.append(
            f"add chain netdev {ISOLATE_TABLE} {chain} {{ type filter hook {hook} device eth0 priority -400; }}"
        )
        script += [f"add rule netdev {ISOLATE_TABLE} {chain} {rule} accept" for rule in allowed]
        script.append(f"add rule netdev {ISOLATE_TABLE} {chain} counter drop")
    _nft(target, ";".join(script))
    others = [name for name in hosts.names(target.lab.client, target.lab.config) if name != target.host]
    other = next((target.at(name) for name in others if target.at(name).running), None)
    if other is not None:
        answer = other.run("ping", "-c", "1", "-W", "0.3", str(target.lab.where.host(target.host)), check=False)
        if " 0% packet loss" in answer:
            raise LabError(f"{target.host} still answers {other.host}; heal, then look at: nft list ruleset")


def isolate(target: Target) -> None:
    gateway = target.lab.where.gateway
    _isolate(
        target,
        arriving=[f"ip saddr {gateway} tcp dport 22", f"arp saddr ip {gateway}"],
        leaving=[f"ip daddr {gateway} tcp sport 22", f"arp daddr ip {gateway}"],
    )


def isolate_all(target: Target) -> None:
    _isolate(target, arriving=[], leaving=[])


def heal_isolate(target: Target) -> None:
    if target.running:
        _drop_table(target, ISOLATE_TABLE)


# --- the disk -------------------------------------------------------------------------------------------------------


def _filler(target: Target) -> Path:
    return disks.mount_point(target.lab.config, target.host) / "filler"


def _free_bytes(path: Path) -> int:
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize


def disk_full(target: Target) -> None:
    filler = _filler(target)
    if not filler.parent.is_mount():
        raise LabError(
            f"disk_full refuses: the data of {target.host} lies on this machine's own disk (LAB_DISK=volume); "
            "make the lab as root with LAB_DISK=loop"
        )
    with filler.open("ab") as handle:
        for chunk in (1 << 30, 1 << 24, 1 << 20, 1 << 12):
            with contextlib.suppress(_DiskFull):
                while True:
                    _allocate(handle.fileno(), chunk)
        os.fsync(handle.fileno())
    free = _free_bytes(filler.parent)
    if free > 1 << 20:
        raise LabError(f"the disk of {target.host} still has {free} bytes; heal and try again")


class _DiskFull(Exception):
    """Nothing of this size fits any more."""


def _allocate(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            raise _DiskFull from error
        raise LabError(f"cannot fill the disk: {error.strerror}") from error


def heal_disk_full(target: Target) -> None:
    _filler(target).unlink(missing_ok=True)


# --- the clock ------------------------------------------------------------------------------------------------------
# Containers share the kernel's wall clock and time name spaces leave it out, so the step is put in front of the
# services' own view of it by libfaketime.


def _clock_units(target: Target) -> list[str]:
    listed = target.run(
        "systemctl", "list-units", "--plain", "--no-legend", "--type=service", "lossless*", "mysql-ha*", "mysql_ha*"
    )
    return [UNIT, *[line.split()[0] for line in listed.splitlines() if line.split()]]


def _clock_loaded(target: Target, unit: str) -> bool:
    pid = target.run("systemctl", "show", "-P", "MainPID", unit)
    return pid != "0" and "libfaketime" in target.run("cat", f"/proc/{pid}/maps", check=False)


def clock_step(target: Target) -> None:
    _running_pid(target)
    offset = f"{target.seconds:+d}s"
    for unit in _clock_units(target):
        if _clock_loaded(target, unit):
            continue
        # The first step needs a restart: a library can be put in front of a process only when it begins.
        _set_clock(target, "+0s")
        library = target.run("sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1")
        directory = f"/run/systemd/system/{unit}.d"
        text = (
            f"[Service]\\nEnvironment=LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={CLOCK_FILE} FAKETIME_NO_CACHE=1 "
            "FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\\n"
        )
        target.run("sh", "-c", f"mkdir -p {directory} && printf '{text}' >{directory}/{CLOCK_DROP_IN}")
        target.run("systemctl", "daemon-reload")
        target.run("systemctl", "restart", unit)
        if not _clock_loaded(target, unit):
            raise LabError(f"libfaketime is not in {unit} on {target.host}; heal, then: systemctl cat {unit}")
    _set_clock(target, offset)
    ahead = float(_sql(target, "SELECT UNIX_TIMESTAMP(NOW(6))")) - float(target.run("date", "+%s.%N"))
    if abs(ahead - target.seconds) > 5:
        raise LabError(f"the clock of mysqld on {target.host} is {ahead:.1f} s off, not {target.seconds}; heal it")


def _set_clock(target: Target, offset: str) -> None:
    # Written to a new file and renamed: the library may read at any moment.
    script = f"mkdir -p /run/lab-clock && echo '{offset}' >{CLOCK_FILE}.new && mv {CLOCK_FILE}.new {CLOCK_FILE}"
    target.run("sh", "-c", script)


def heal_clock_step(target: Target) -> None:
    """The clock is right at once; the library goes with the next restart of the service."""
    if not target.running:
        return
    found = target.run("sh", "-c", f"ls /run/systemd/system/*/{CLOCK_DROP_IN} 2>/dev/null", check=False).split()
    if found:
        _set_clock(target, "+0s")
        target.run("rm", "-f", *found)
        target.run("systemctl", "daemon-reload")


# --- the applier ----------------------------------------------------------------------------------------------------


def _sql(target: Target, statement: str) -> str:
    return target.run(*target.lab.config.mysql_command.split(), "-N", "-B", "-e", statement)


def _hold_applier(target: Target, percent: int) -> None:
    _running_pid(target)
    _sql(target, "SELECT 1")
    heal_applier(target)
    if percent >= 100:
        statements = "FLUSH TABLES WITH READ LOCK; DO SLEEP(86400);"
    else:
        lock, free = percent / 100, 1 - percent / 100
        statements = f"FLUSH TABLES WITH READ LOCK; DO SLEEP({lock:.2f}); UNLOCK TABLES; DO SLEEP({free:.2f});"
    loop = f"while echo '{statements}'; do :; done | {target.lab.config.mysql_command} --unbuffered"
    target.run("systemd-run", f"--unit={APPLIER_UNIT}", "--collect", "--quiet", "sh", "-c", loop)
    held = (
        "SELECT COUNT(*) FROM performance_schema.metadata_locks "
        "WHERE object_type = 'GLOBAL' AND lock_type = 'SHARED' AND lock_status = 'GRANTED'"
    )
    wait_until(
        lambda: _sql(target, held) != "0",
        deadline=EFFECT_SECONDS,
        what=f"lock on {target.host} granted",
        hint=f"a long transaction there? else: python -m lab exec {target.host} -- journalctl -u {APPLIER_UNIT}",
        every=0.1,
    )


def slow_applier(target: Target) -> None:
    if not 1 <= target.percent <= 99:
        raise LabError("slow_applier: --percent 1 to 99 (applier_held stops it altogether)")
    _hold_applier(target, target.percent)


def applier_held(target: Target) -> None:
    _hold_applier(target, 100)


def heal_applier(target: Target) -> None:
    if target.running and target.run("systemctl", "is-active", APPLIER_UNIT, check=False) == "active":
        target.run("systemctl", "stop", APPLIER_UNIT)


def _start_unit(target: Target, unit: str, script: str) -> None:
    target.run("systemd-run", f"--unit={unit}", "--collect", "--quiet", "sh", "-c", script)


def _stop_unit(target: Target, unit: str) -> None:
    if target.running and target.run("systemctl", "is-active", unit, check=False) == "active":
        target.run("systemctl", "stop", unit)


def applier_error(target: Target) -> None:
    """A table that the applier needs is not there under its name: what it applies next fails, as with a lost row."""
    _running_pid(target)
    schema, _dot, table = target.table.partition(".")
    if not table:
        raise LabError(f"--table {target.table}: write it like {DEFAULT_TABLE}")
    _changed_past_the_log(target, f"RENAME TABLE {schema}.{table} TO {schema}.{table}{AWAY}")
    failed = "SELECT COUNT(*) FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER > 0"
    wait_until(
        lambda: _sql(target, failed) != "0",
        deadline=EFFECT_SECONDS,
        what=f"the applier of {target.host} failing",
        hint=f"does anybody write to {target.table}?",
        every=0.1,
    )


def _changed_past_the_log(target: Target, statement: str) -> None:
    """As root, on a read-only server, without a transaction that anybody else would see."""
    _sql(
        target,
        "SET SESSION sql_log_bin = OFF, lock_wait_timeout = 10; SET @was = @@GLOBAL.super_read_only;"
        f" SET GLOBAL super_read_only = OFF; {statement}; SET GLOBAL super_read_only = @was",
    )


def heal_applier_error(target: Target) -> None:
    if not target.running or target.run("systemctl", "is-active", UNIT, check=False) != "active":
        return
    hidden = _sql(
        target,
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables"
        f" WHERE RIGHT(table_name, {len(AWAY)}) = '{AWAY}'",
    ).split()
    for name in hidden:
        _changed_past_the_log(target, f"RENAME TABLE {name} TO {name.removesuffix(AWAY)}")
    if hidden:
        _sql(target, "START REPLICA SQL_THREAD")


def errant_transaction(target: Target) -> None:
    """A transaction of its own on a server that is to have none. Nothing but a rejoin takes it away again."""
    _running_pid(target)
    count = f"SELECT COUNT(*) FROM {ERRANT_SCHEMA}.stray"
    _sql(
        target,
        "SET @was = @@GLOBAL.super_read_only; SET GLOBAL super_read_only = OFF;"
        f" CREATE DATABASE IF NOT EXISTS {ERRANT_SCHEMA};"
        f" CREATE TABLE IF NOT EXISTS {ERRANT_SCHEMA}.stray (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6));"
        f" INSERT INTO {ERRANT_SCHEMA}.stray (at) VALUES (NOW(6)); SET GLOBAL super_read_only = @was",
    )
    if _sql(target, count) == "0":
        raise LabError(f"{target.host} has no transaction of its own")


def nothing_to_heal(target: Target) -> None:
    """What this did can not be undone, or undoes itself."""


def semi_sync_off(target: Target) -> None:
    pid = _running_pid(target)
    _sql(target, "SET GLOBAL rpl_semi_sync_source_enabled = OFF")
    if _sql(target, "SELECT @@GLOBAL.rpl_semi_sync_source_enabled") != "0":
        raise LabError(f"{target.host} still waits for acknowledgements; heal and try again")
    target.run("sh", "-c", f"echo {pid} >{SEMI_SYNC_MARK}")


def heal_semi_sync_off(target: Target) -> None:
    """On again in the same process; another one has begun with what its option file says."""
    if not target.running:
        return
    marked = target.run("sh", "-c", f"cat {SEMI_SYNC_MARK} 2>/dev/null && rm {SEMI_SYNC_MARK}", check=False)
    if marked and marked == str(_main_pid(target)):
        _sql(target, "SET GLOBAL rpl_semi_sync_source_enabled = ON")


def connections_exhausted(target: Target) -> None:
    """max_connections clients are connected, the one that is reserved for administrators among them."""
    _running_pid(target)
    program = (
        "import pymysql, time; held = []\n"
        "while True:\n"
        "    try:\n"
        f"        held.append(pymysql.connect(unix_socket='{SOCKET}', user='root'))\n"
        "    except pymysql.err.OperationalError as error:\n"
        "        if error.args[0] != 1040: raise\n"
        "        time.sleep(0.05)\n"
    )
    target.run("systemd-run", f"--unit={CONNECTIONS_UNIT}", "--collect", "--quiet", "python3", "-c", program)
    command = [*target.lab.config.mysql_command.split(), "-e", "SELECT 1"]
    wait_until(
        lambda: "1040" in target.run(*command, check=False),
        deadline=EFFECT_SECONDS,
        what=f"{target.host} refusing connections",
        hint=f"python -m lab exec {target.host} -- journalctl -u {CONNECTIONS_UNIT}",
        every=0.1,
    )


def heal_connections_exhausted(target: Target) -> None:
    _stop_unit(target, CONNECTIONS_UNIT)


_CLIENTS_PROGRAM = f"""\
import itertools, os, threading, time, pymysql
notes = os.open("{CLIENTS_NOTES}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
first = int(time.time() * 1000) * 1000
ids = itertools.count(first)
def client():
    while True:
        try:
            connection = pymysql.connect(unix_socket="{SOCKET}", user="root", autocommit=True)
            while True:
                identifier = next(ids)
                connection.query(f"INSERT INTO {CLIENTS_TABLE} VALUES ({{identifier}})")
                os.write(notes, f"{{identifier}}\\n".encode())
                time.sleep(0.02)
        except (pymysql.err.Error, OSError):
            time.sleep(0.1)
threads = [threading.Thread(target=client) for _number in range({LOCAL_CLIENTS})]
for thread in threads:
    thread.start()
"""


def local_clients(target: Target) -> None:
    """Clients on the host itself go on writing, whatever the network does, and note what was acknowledged."""
    _running_pid(target)
    heal_local_clients(target)
    target.run("rm", "-f", CLIENTS_NOTES)
    target.run("systemd-run", f"--unit={CLIENTS_UNIT}", "--collect", "--quiet", "python3", "-c", _CLIENTS_PROGRAM)
    table = CLIENTS_TABLE.partition(".")[2]
    wait_until(
        lambda: (
            _sql(
                target,
                f"SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO LIKE 'INSERT INTO %{table} VALUES%'",
            )
            != "0"
            or target.run("sh", "-c", f"cat {CLIENTS_NOTES}", check=False) != ""
        ),
        deadline=EFFECT_SECONDS,
        what=f"clients on {target.host} writing",
        hint=f"is there a table {CLIENTS_TABLE} (id BIGINT)? else: journalctl -u {CLIENTS_UNIT} on {target.host}",
        every=0.1,
    )


def heal_local_clients(target: Target) -> None:
    _stop_unit(target, CLIENTS_UNIT)


def long_transaction(target: Target) -> None:
    """A client that began a transaction, has written, and does not end it."""
    _running_pid(target)
    heal_long_transaction(target)
    statements = f"BEGIN; SELECT COUNT(*) FROM {target.table} WHERE id = -1 FOR UPDATE; DO SLEEP(86400);"
    _start_unit(target, TRANSACTION_UNIT, f'echo "{statements}" | {target.lab.config.mysql_command} --unbuffered')
    wait_until(
        lambda: (
            _sql(target, "SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO LIKE 'DO SLEEP(86400)%'")
            not in ("", "0")
        ),
        deadline=EFFECT_SECONDS,
        what=f"a transaction on {target.host} standing open",
        hint=f"python -m lab exec {target.host} -- journalctl -u {TRANSACTION_UNIT}",
        every=0.1,
    )


def heal_long_transaction(target: Target) -> None:
    _stop_unit(target, TRANSACTION_UNIT)


def authentication_cache_cold(target: Target) -> None:
    """The server forgets whom it has seen: caching_sha2_password asks for the password itself again."""
    _running_pid(target)
    _sql(target, "FLUSH LOCAL PRIVILEGES")


FAULTS: dict[str, Fault] = {
    "host_frozen": Fault(
        host_frozen,
        heal_host_frozen,
        "every process of the host stands still (docker pause); its kernel still answers ARP, ping and TCP's handshake",
    ),
    "host_gone": Fault(
        host_gone,
        heal_host_gone,
        "the host stops at once (docker kill), addresses and all; not a power loss: what was written to files survives",
    ),
    "isolate": Fault(
        isolate,
        heal_isolate,
        "nothing in or out of the host but SSH from this machine, so that Ansible still reaches it",
    ),
    "isolate_all": Fault(isolate_all, heal_isolate, "nothing at all in or out of the host"),
    "cut": Fault(
        cut,
        heal_cut,
        "the link to --peer, in one direction (out: what HOST sends is lost; in: what it should receive) or both",
        ("peer", "direction"),
    ),
    "hang": Fault(hang, heal_hang, "SIGSTOP to mysqld: connections are accepted by the kernel, nobody answers"),
    "disk_full": Fault(disk_full, heal_disk_full, "not one block is free on the file system of the data directory"),
    "clock_step": Fault(
        clock_step,
        heal_clock_step,
        "mysqld (and the collection's own services) see the clock --seconds off, by libfaketime; the first step "
        "restarts them: for a step while they run, inject --seconds 0 first",
        ("seconds",),
    ),
    "mysqld_kill": Fault(mysqld_kill, heal_mysqld, "kill -9 of mysqld; systemd starts it again as its unit says"),
    "mysqld_kill_no_restart": Fault(
        mysqld_kill_no_restart, heal_mysqld, "kill -9 of mysqld with Restart=no: it stays dead until healed"
    ),
    "slow_applier": Fault(
        slow_applier,
        heal_applier,
        "a client holds FLUSH TABLES WITH READ LOCK for --percent of every second: the receiver keeps up and "
        "acknowledges, the applier does not (nor do writers, on a primary)",
        ("percent",),
    ),
    "mysqld_stop": Fault(
        mysqld_stop, heal_mysqld_stop, "systemctl stop: with whatever the unit does before; it stays down until healed"
    ),
    "replication_cut": Fault(
        replication_cut,
        heal_replication_cut,
        "nothing between this database host and the others; applications and managers reach all of them",
    ),
    "announcement_lost": Fault(
        announcement_lost,
        heal_announcement_lost,
        "this host does not hear announcements of the virtual addresses (gratuitous ARP, unsolicited advertisement)",
    ),
    "address_at_boot": Fault(
        address_at_boot,
        heal_address_at_boot,
        "from its next boot on the first virtual address stands on this host for ever, by nobody's lease",
    ),
    "applier_error": Fault(
        applier_error,
        heal_applier_error,
        "the applier stops with an error at its next change of --table; the receiver goes on and acknowledges",
        ("table",),
    ),
    "errant_transaction": Fault(
        errant_transaction, nothing_to_heal, "a transaction that only this server has; healing does not take it away"
    ),
    "semi_sync_off": Fault(
        semi_sync_off, heal_semi_sync_off, "the primary no longer waits for acknowledgements: asynchronous from now on"
    ),
    "connections_exhausted": Fault(
        connections_exhausted, heal_connections_exhausted, "max_connections clients stay connected (error 1040)"
    ),
    "local_clients": Fault(
        local_clients,
        heal_local_clients,
        f"clients on the host itself write into {CLIENTS_TABLE} and note in {CLIENTS_NOTES} what was acknowledged",
    ),
    "long_transaction": Fault(
        long_transaction, heal_long_transaction, "a client holds a transaction on --table open", ("table",)
    ),
    "authentication_cache_cold": Fault(
        authentication_cache_cold, nothing_to_heal, "the server's cache of caching_sha2_password is empty"
    ),
    "applier_held": Fault(applier_held, heal_applier, "the same lock held without a break: received, never applied"),
}
"""In the order in which they are healed: a host has to run before what is inside it can be mended."""


def open_lab(config: Config) -> Lab:
    """The lab of this configuration, which has to be up."""
    client = engine.require()
    net = hosts.find_network(client, config)
    if net is None:
        raise LabError(f"lab {config.name} is not up; run: make lab-up")
    net.reload()
    return Lab(client, config, hosts.addresses(net))


def inject(target: Target, name: str) -> float:
    """Inject a fault, make sure that it took effect; return the seconds it took."""
    fault = find(name)
    began = time.monotonic()
    try:
        fault.inject(target)
    except docker.errors.APIError as error:
        raise LabError(f"{name} on {target.host}: {error.explanation}; heal and try again") from error
    return time.monotonic() - began


def find(name: str) -> Fault:
    if name not in FAULTS:
        raise LabError(f"there is no fault '{name}'; there are: {', '.join(sorted(FAULTS))}")
    return FAULTS[name]


def heal(lab: Lab, host: str | None = None, name: str | None = None) -> None:
    """Undo one fault or all of them, on one host or on all."""
    wanted = [find(name)] if name else list(_distinct())
    for each in [host] if host else hosts.names(lab.client, lab.config):
        for fault in wanted:
            fault.heal(Target(lab, each))


def _distinct() -> Iterator[Fault]:
    """One fault for each way back, in the order of the table."""
    seen: set[Callable[[Target], None]] = set()
    for fault in FAULTS.values():
        if fault.heal not in seen:
            seen.add(fault.heal)
            yield fault
