# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's observer: several times a second, who is reachable and writable, and who answers for the address.

It runs on the application host, apart from the writer, and needs CAP_NET_RAW for the addresses.

Input: `--config FILE`, a JSON object (mode 0600; times in seconds unless the key says otherwise):

    hosts                   [{"name", "address", "port"=3306}, ...]   the database hosts by their own addresses
    addresses=[]            ["192.0.2.10", "2001:db8::10", ...]       the virtual addresses
    interface               the interface that shares a link with them; required when addresses are given
    output                  path of the JSON lines that are written; must not exist yet
    user, password          an account that may connect; it needs no privilege
    interval_ms=100         time between two samples
    deadline_ms=80          time in which an answer counts for its sample; less than the interval
    duration=null           end after this time; null: at SIGTERM
    connect_timeout=0.3, handshake_timeout=1, read_timeout=1, tls, tls_ca, tls_verify_identity   see drill_mysql.py

Output: JSON lines; `monotonic` is CLOCK_MONOTONIC of this host, `wall` is Unix time, in seconds.

    {"type": "start", "hosts": [names], "addresses", "interval_ms", "deadline_ms", "monotonic", "wall"}
    {"type": "sample", "tick", "monotonic", "wall",
     "hosts": {name: {"reachable", "writable", "server_uuid", "read_only", "super_read_only", "offline_mode",
                      "error", "latency_ms"}},
     "addresses": {address: {"macs": [sorted, lower case], "error"}}}
    {"type": "summary", "samples", "skipped", "monotonic", "wall"}

`reachable`: answered within the deadline. `writable`: applications can write there: reachable, not read_only
(super_read_only says ON while it still waits), and not in offline mode, which lets in administrators alone. A fenced
primary is kept so, rather than read-only, while commits wait on it: to become read-only it would have to release them.
Everything but `reachable` is null when unknown. `macs` holds every answer within the deadline, so two owners are seen
as two. `skipped` are ticks that this host was too busy to sample.

Exit status: 0 after SIGTERM or `duration`; 1 when it could not write or not open its sockets; 2 for a bad
configuration.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, TextIO, Union

import pymysql
from drill_common import (
    EXIT_BAD_CONFIG,
    EXIT_COULD_NOT,
    EXIT_DONE,
    ConfigError,
    config_path,
    json_line,
    load_config,
    positive,
    reject_unknown,
    required,
)
from drill_mysql import CONNECTION_KEYS, Access, access_from, discard, error_document, open_session

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]  # evaluated: Python 3.9 has no X | Y

KNOWN_KEYS = CONNECTION_KEYS + (
    "hosts",
    "addresses",
    "interface",
    "output",
    "interval_ms",
    "deadline_ms",
    "duration",
)
PROBE = "SELECT @@global.server_uuid, @@global.read_only, @@global.super_read_only, @@global.offline_mode"
RECONNECT_SECONDS = (0.02, 0.06)

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
ICMPV6, SOLICITATION, ADVERTISEMENT = 58, 135, 136
SOURCE_LINK_LAYER, TARGET_LINK_LAYER = 1, 2
ETHERNET_HEADER, IPV6_HEADER = 14, 40
BROADCAST = b"\xff" * 6
SIOCGIFADDR, SIOCGIFHWADDR, SO_ATTACH_FILTER = 0x8915, 0x8927, 26


# --- frames: pure ---------------------------------------------------------------------------------------------


def arp_request(mac: bytes, source: ipaddress.IPv4Address, target: ipaddress.IPv4Address) -> bytes:
    """An Ethernet frame that asks everybody on the link who has `target`."""
    ethernet = BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + source.packed + bytes(6) + target.packed


def arp_owner(frame: bytes) -> tuple[Address, str] | None:
    """(address, MAC) of an ARP reply; None for every other frame."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETHERTYPE_ARP):
        return None
    if struct.unpack("!HHBBH", frame[14:22]) != (1, 0x0800, 6, 4, 2):
        return None
    return ipaddress.IPv4Address(frame[28:32]), frame[22:28].hex(":")


def solicited_node(target: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast address that every holder of `target` listens to."""
    return ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + target.packed[13:])


def icmpv6_checksum(source: bytes, destination: bytes, message: bytes) -> int:
    """RFC 8200, section 8.1: over the pseudo header and the message, whose own checksum field is zero."""
    data = source + destination + struct.pack("!IxxxB", len(message), ICMPV6) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def neighbour_solicitation(mac: bytes, source: ipaddress.IPv6Address, target: ipaddress.IPv6Address) -> bytes:
    """An Ethernet frame that asks the holders of `target` for their link-layer address. Its length is even."""
    group = solicited_node(target)
    options = b"" if source.is_unspecified else struct.pack("!BB", SOURCE_LINK_LAYER, 1) + mac
    message = struct.pack("!BBHI", SOLICITATION, 0, 0, 0) + target.packed + options
    checksum = icmpv6_checksum(source.packed, group.packed, message)
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    header = struct.pack("!IHBB", 0x60000000, len(message), ICMPV6, 255) + source.packed + group.packed
    ethernet = b"\x33\x33" + group.packed[12:] + mac + struct.pack("!H", ETHERTYPE_IPV6)
    return ethernet + header + message


def advertised_owner(frame: bytes) -> tuple[Address, str] | None:
    """(address, MAC) of a neighbour advertisement; the MAC is the option's, or else the frame's own."""
    body = ETHERNET_HEADER + IPV6_HEADER
    if len(frame) < body + 24 or frame[12:14] != struct.pack("!H", ETHERTYPE_IPV6):
        return None
    # A hop limit other than 255 came through a router: no neighbour speaks there (RFC 4861, section 7.1.2).
    if (frame[20], frame[21], frame[body]) != (ICMPV6, 255, ADVERTISEMENT):
        return None
    target = ipaddress.IPv6Address(frame[body + 8 : body + 24])
    return target, (_link_layer_option(frame[body + 24 :]) or frame[6:12]).hex(":")


def _link_layer_option(options: bytes) -> bytes | None:
    """The target link-layer address among the options of an advertisement."""
    while len(options) >= 8 and options[1]:
        if options[0] == TARGET_LINK_LAYER:
            return options[2:8]
        options = options[8 * options[1] :]
    return None


# --- who answers for an address -------------------------------------------------------------------------------


class Link:
    """Raw sockets on one interface that ask for addresses and collect everybody's answer. Needs CAP_NET_RAW."""

    def __init__(self, interface: str, addresses: list[Address]) -> None:
        self._requests: list[tuple[Address, socket.socket, bytes]] = []
        self._parsers: dict[socket.socket, Callable[[bytes], tuple[Address, str] | None]] = {}
        if not addresses:
            return
        mac = _hardware_address(interface)
        arp = _packet_socket(interface, ETHERTYPE_ARP)
        neighbours = _packet_socket(interface, ETHERTYPE_IPV6)
        _only_advertisements(neighbours)
        self._parsers = {arp: arp_owner, neighbours: advertised_owner}
        for address in addresses:
            if isinstance(address, ipaddress.IPv4Address):
                self._requests.append((address, arp, arp_request(mac, _ipv4_source(interface), address)))
            else:
                frame = neighbour_solicitation(mac, _ipv6_source(interface), address)
                self._requests.append((address, neighbours, frame))

    def ask(self) -> dict[str, dict[str, Any]]:
        """Send one request for each address; {address: {"macs": empty, "error"}}, to be filled by `collect`."""
        self._drain({})  # answers to the sample before, and other people's talk
        answers: dict[str, dict[str, Any]] = {}
        for address, link, frame in self._requests:
            error = None
            try:
                link.send(frame)
            except OSError as failure:
                error = str(failure)
            answers[str(address)] = {"macs": set(), "error": error}
        return answers

    def collect(self, answers: dict[str, dict[str, Any]], deadline: float) -> None:
        """Add the MAC of every answer that comes before `deadline` (monotonic seconds)."""
        while self._parsers and (remaining := deadline - time.monotonic()) > 0:
            if select.select(list(self._parsers), [], [], remaining)[0]:
                self._drain(answers)

    def _drain(self, answers: dict[str, dict[str, Any]]) -> None:
        for link, parse in self._parsers.items():
            while True:
                try:
                    frame = link.recv(2048)
                except BlockingIOError:
                    break
                except OSError as failure:  # the interface is down: say so in the sample and go on
                    for answer in answers.values():
                        answer["error"] = answer["error"] or str(failure)
                    break
                owner = parse(frame)
                if owner is not None and str(owner[0]) in answers:
                    answers[str(owner[0])]["macs"].add(owner[1])


def _packet_socket(interface: str, ethertype: int) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    link.bind((interface, ethertype))
    link.setblocking(False)
    return link


def _only_advertisements(link: socket.socket) -> None:
    """Let the kernel drop all IPv6 frames but neighbour advertisements: the writer's traffic passes here too."""
    body = ETHERNET_HEADER + IPV6_HEADER
    load_byte, jump_if_equal, give_back = 0x30, 0x15, 0x06
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (load_byte, 0, 0, ETHERNET_HEADER + 6),
            (jump_if_equal, 0, 3, ICMPV6),
            (load_byte, 0, 0, body),
            (jump_if_equal, 0, 1, ADVERTISEMENT),
            (give_back, 0, 0, 0xFFFF),
            (give_back, 0, 0, 0),
        )
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    link.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    )


def _interface_query(interface: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket.fileno(), request, struct.pack("256s", interface.encode()[:15]))


def _hardware_address(interface: str) -> bytes:
    return _interface_query(interface, SIOCGIFHWADDR)[18:24]


def _ipv4_source(interface: str) -> ipaddress.IPv4Address:
    """The interface's own address; 0.0.0.0 (an ARP probe, RFC 5227) when it has none."""
    try:
        return ipaddress.IPv4Address(_interface_query(interface, SIOCGIFADDR)[20:24])
    except OSError:
        return ipaddress.IPv4Address(0)


def _ipv6_source(interface: str) -> ipaddress.IPv6Address:
    """The interface's link-local address; :: when it has none, or the kernel no IPv6 of its own."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            for line in file:
                address, _index, _prefix, _scope, _flags, name = line.split()
                candidate = ipaddress.IPv6Address(bytes.fromhex(address))
                if name == interface and candidate.is_link_local:
                    return candidate
    except FileNotFoundError:
        pass
    return ipaddress.IPv6Address(0)


# --- what a database host says --------------------------------------------------------------------------------


def silent(error: dict[str, Any]) -> dict[str, Any]:
    """The sample of a host that did not answer in time."""
    return {
        "reachable": False,
        "writable": None,
        "server_uuid": None,
        "read_only": None,
        "super_read_only": None,
        "offline_mode": None,
        "error": error,
        "latency_ms": None,
    }


def heard(row: tuple[Any, ...], latency: float) -> dict[str, Any]:
    """The sample of a host that answered PROBE with `row`, `latency` seconds after it was asked."""
    read_only, super_read_only, offline = (bool(int(value)) for value in row[1:4])
    return {
        "reachable": True,
        "writable": not (read_only or offline),
        "server_uuid": str(row[0]),
        "read_only": read_only,
        "super_read_only": super_read_only,
        "offline_mode": offline,
        "error": None,
        "latency_ms": round(latency * 1000, 3),
    }


class HostProbe:
    """One thread and one connection for one host, so that a host that hangs delays nobody else's sample."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Any],
        describe: Callable[[BaseException], dict[str, Any]],
        stop: threading.Event,
    ) -> None:
        self.name = name
        self._connect = connect
        self._describe = describe
        self._stop = stop
        self._condition = threading.Condition()
        self._wanted: int | None = None
        self._answer: tuple[int, dict[str, Any]] = (-1, silent({"number": None, "text": "not connected yet"}))
        self._last_error: dict[str, Any] = {"number": None, "text": "not connected yet"}
        self._thread = threading.Thread(target=self._run, name=f"probe-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, tick: int) -> None:
        """Ask for the sample of `tick`; a request that the thread has not taken up yet is replaced."""
        with self._condition:
            self._wanted = tick
            self._condition.notify_all()

    def answer(self, tick: int) -> dict[str, Any]:
        """What the host said for this tick, as far as it did."""
        with self._condition:
            return self._answer[1] if self._answer[0] == tick else silent(self._last_error)

    def _run(self) -> None:
        session: Any | None = None
        while not self._stop.is_set():
            try:
                if session is None:
                    session = self._connect()
                self._serve(session)
            except (pymysql.err.Error, OSError) as error:
                self._failed(self._describe(error))
                discard(session)
                session = None
                self._stop.wait(random.uniform(*RECONNECT_SECONDS))
        discard(session)

    def _serve(self, session: Any) -> None:
        """Answer requests until told to stop. Raises when the session is no good any more."""
        while not self._stop.is_set():
            tick = self._next_request()
            if tick is None:
                continue
            asked = time.monotonic()
            with session.cursor() as cursor:
                cursor.execute(PROBE)
                sample = heard(cursor.fetchone(), time.monotonic() - asked)
            with self._condition:
                self._answer = (tick, sample)
                self._last_error = {"number": None, "text": "no answer within the deadline"}

    def _next_request(self) -> int | None:
        with self._condition:
            if self._wanted is None:
                self._condition.wait(0.5)  # wakes now and then only to look at `stop`
            wanted, self._wanted = self._wanted, None
            return wanted

    def _failed(self, error: dict[str, Any]) -> None:
        with self._condition:
            self._last_error = error


# --- the loop -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """The configuration, checked. Times in seconds."""

    hosts: list[tuple[str, str, int]]
    addresses: list[Address]
    interface: str
    output: str
    access: Access
    interval: float
    deadline: float
    duration: float | None


def settings_from(config: dict[str, Any]) -> Settings:
    """Check a configuration. Raises ConfigError, or OSError when the CA cannot be read."""
    reject_unknown(config, KNOWN_KEYS)
    required(config, "hosts", "output")
    hosts = []
    for host in config["hosts"]:
        required(host, "name", "address")
        hosts.append((str(host["name"]), str(host["address"]), int(host.get("port", 3306))))
    if len({name for name, _address, _port in hosts}) != len(hosts):
        raise ConfigError("two hosts have the same name")
    try:
        addresses = [ipaddress.ip_address(address) for address in config.get("addresses", [])]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if addresses:
        required(config, "interface")
    interval, deadline = positive(config, "interval_ms", 100) / 1000, positive(config, "deadline_ms", 80) / 1000
    if deadline >= interval:
        raise ConfigError("deadline_ms has to be less than interval_ms")
    return Settings(
        hosts=hosts,
        addresses=addresses,
        interface=str(config.get("interface", "")),
        output=str(config["output"]),
        access=access_from(config, read_timeout=1.0),
        interval=interval,
        deadline=deadline,
        duration=None if config.get("duration") is None else positive(config, "duration", 1),
    )


def take_sample(
    tick: int, probes: list[HostProbe], link: Link, deadline: float, stop: threading.Event
) -> dict[str, Any]:
    """Ask everybody, wait until `deadline` seconds from now, and write down who answered."""
    monotonic, wall = time.monotonic(), time.time()
    for probe in probes:
        probe.ask(tick)
    answers = link.ask()
    link.collect(answers, monotonic + deadline)
    stop.wait(max(0.0, monotonic + deadline - time.monotonic()))
    return {
        "type": "sample",
        "tick": tick,
        "monotonic": monotonic,
        "wall": wall,
        "hosts": {probe.name: probe.answer(tick) for probe in probes},
        "addresses": {
            address: {"macs": sorted(_macs(answer)), "error": answer["error"]} for address, answer in answers.items()
        },
    }


def _macs(answer: dict[str, Any]) -> set[str]:
    macs: set[str] = answer["macs"]
    return macs


def observe(settings: Settings, file: TextIO, stop: threading.Event, probes: list[HostProbe], link: Link) -> None:
    """One sample for each interval until `stop` or the duration's end. Raises OSError when it cannot write."""
    origin = time.monotonic()
    samples = skipped = tick = 0
    file.write(
        json_line(
            {
                "type": "start",
                "hosts": [probe.name for probe in probes],
                "addresses": [str(address) for address in settings.addresses],
                "interval_ms": settings.interval * 1000,
                "deadline_ms": settings.deadline * 1000,
                "monotonic": origin,
                "wall": time.time(),
            }
        )
    )
    while not stop.is_set():
        sample = take_sample(tick, probes, link, settings.deadline, stop)
        if stop.is_set():
            break  # cut short: silence in it would mean nothing
        file.write(json_line(sample))
        file.flush()
        samples += 1
        elapsed = time.monotonic() - origin
        if settings.duration is not None and elapsed >= settings.duration:
            break
        due = max(tick + 1, int(elapsed / settings.interval))
        skipped, tick = skipped + due - tick - 1, due
        stop.wait(max(0.0, origin + tick * settings.interval - time.monotonic()))
    file.write(
        json_line(
            {
                "type": "summary",
                "samples": samples,
                "skipped": skipped,
                "monotonic": time.monotonic(),
                "wall": time.time(),
            }
        )
    )
    file.flush()


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        settings = settings_from(load_config(config_path("Sample hosts and addresses several times a second.")))
    except (ConfigError, OSError) as error:
        print(f"observer: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    access = settings.access

    def connector(address: str, port: int) -> Callable[[], Any]:
        return lambda: open_session(address, port, access, autocommit=True)

    probes = [
        HostProbe(name, connector(address, port), lambda error: error_document(error, access), stop)
        for name, address, port in settings.hosts
    ]
    try:
        link = Link(settings.interface, settings.addresses)
        with open(settings.output, "x", encoding="ascii") as file:
            for probe in probes:
                probe.start()
            observe(settings, file, stop, probes, link)
    except OSError as error:
        print(f"observer: {error}", file=sys.stderr)
        return EXIT_COULD_NOT
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
