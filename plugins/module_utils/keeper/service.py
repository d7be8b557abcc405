# SPDX-License-Identifier: BSD-2-Clause
"""The keeper as a process: ``python3 -m ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.service``.

``--check`` reads the configuration and says what is wrong with it; ``--release`` takes the addresses off this host and
ends (systemd runs it after the service has ended, however it ended). Otherwise it runs until SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from ..errors import HaError
from . import address, config, fencing, heartbeat, loop, neighbour, refuse, status
from .address import Vip

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the unit does not start it again, for it would fail again."""


def clock() -> float:
    """Seconds since boot, counted on while the host sleeps: a lease must not sleep with it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Kernel:
    """This host's addresses. What is sent to one that is not here is refused, not left unanswered (``refuse``)."""

    def __init__(self, selector: selectors.BaseSelector, say: Callable[[int, str], None]) -> None:
        self._selector = selector
        self._say = say
        self._doors: dict[Vip, refuse.Door] = {}

    def present(self, vip: Vip, lifetime: int) -> None:
        self._close(vip)
        address.present(vip, lifetime)

    def absent(self, vip: Vip) -> bool:
        was_there = address.absent(vip)
        self._open(vip)
        return was_there

    def has(self, vip: Vip) -> bool:
        return address.find(vip) is not None

    def answer(self, door: refuse.Door) -> None:
        """Something came for an address that is not here."""
        if not door.answer():
            self._close(next(vip for vip, own in self._doors.items() if own is door))

    def _open(self, vip: Vip) -> None:
        if vip in self._doors:
            return
        try:
            door = refuse.Door(vip.interface, vip.address)
        except HaError as error:
            # A service to clients: without it they wait for their time-outs.
            self._say(status.WARNING, f"{vip}: nobody who still sends here is refused: {error.message}")
            return
        self._doors[vip] = door
        self._selector.register(door, selectors.EVENT_READ, door)

    def _close(self, vip: Vip) -> None:
        door = self._doors.pop(vip, None)
        if door is not None:
            self._selector.unregister(door)
            door.close()


class OpenWhenUsed:
    """A ``Wire`` that is opened by its first use and after each failure, and that wakes the loop."""

    def __init__(self, vip: Vip, selector: selectors.BaseSelector) -> None:
        self._vip = vip
        self._selector = selector
        self._wire: Optional[neighbour.Wire] = None

    def _open(self) -> neighbour.Wire:
        if self._wire is None:
            self._wire = neighbour.Wire(self._vip.interface, self._vip.address)
            self._selector.register(self._wire, selectors.EVENT_READ)
        return self._wire

    def probe(self) -> None:
        self._use(neighbour.Wire.probe)

    def announce(self) -> None:
        self._use(neighbour.Wire.announce)

    def claims(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self._use(neighbour.Wire.claims)
        return found

    def _use(self, method: Any) -> Any:
        try:
            return method(self._open())
        except HaError:
            self.close()
            raise

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            self._selector.unregister(wire)
            wire.close()


class Alarm:
    """Wakes the loop from other threads and from signals: a byte in a socket that the loop waits for."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        selector.register(self._reader, selectors.EVENT_READ)
        self.asked_to_stop = ""

    def ring(self) -> None:
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # it rings already

    def quiet(self) -> None:
        try:
            while self._reader.recv(4096):
                continue
        except BlockingIOError:
            return

    def catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def _on_signal(self, number: int, _frame: Any) -> None:
        self.asked_to_stop = signal.Signals(number).name


def run(settings: config.Config) -> None:
    """Keep the addresses until a signal says stop."""
    selector = selectors.DefaultSelector()
    alarm = Alarm(selector)
    journal = status.Journal()
    systemd = status.Systemd(os.environ)
    links = {vip: OpenWhenUsed(vip, selector) for vip in settings.addresses}
    notes = heartbeat.Notes(alarm.ring)
    kernel = Kernel(selector, journal.say)
    world = loop.World(
        clock=clock,
        wall=time.time,
        kernel=kernel,
        link=links.__getitem__,
        publish=lambda values: status.write(settings.status_file, values),
        say=journal.say,
    )
    orders = fencing.Orders(alarm.ring) if settings.self_fence else None
    keeper = loop.Loop(settings.addresses, settings.timing, notes, world, orders)
    # Signals first: a stop during the start must still let go.
    alarm.catch_signals()
    keeper.begin()
    timing = settings.timing
    observer = heartbeat.Observer(
        notes,
        _opener(settings, settings.statement_deadline, heartbeat.SETTINGS),
        clock,
        tick=timing.tick,
        deadline=settings.statement_deadline,
    )
    beater = heartbeat.Beater(
        notes,
        _opener(settings, settings.statement_deadline, heartbeat.SETTINGS),
        clock,
        interval=timing.heartbeat_interval,
        deadline=settings.heartbeat_deadline,
    )
    observer.start()
    beater.start()
    if orders is not None:
        _start_fencing(settings, orders)
    journal.say(
        status.INFO,
        f"keeping {', '.join(map(str, settings.addresses))}: without an acknowledged commit the address goes after"
        f" {timing.bound:g} s, and after {timing.kernel_bound:g} s even if this process is killed or frozen",
    )
    systemd.notify("READY=1")
    alive_at = clock()
    try:
        while not alarm.asked_to_stop:
            until = keeper.step()
            now = clock()
            if systemd.watchdog_every and not 0 <= now - alive_at < systemd.watchdog_every:
                alive_at = now
                systemd.notify("WATCHDOG=1")
            for key, _events in selector.select(max(until - now, 0.0)):
                if isinstance(key.data, refuse.Door):
                    kernel.answer(key.data)
            alarm.quiet()
        journal.say(status.INFO, f"{alarm.asked_to_stop}: letting go")
        systemd.notify("STOPPING=1")
    finally:
        notes.stop()
        if orders is not None:
            orders.stop()
        keeper.end()


def _start_fencing(settings: config.Config, orders: fencing.Orders) -> None:
    deadline = settings.statement_deadline
    opener = _opener(settings, deadline, fencing.SETTINGS)
    fencing.Fencer(orders, opener, clock, settings.spared, deadline=deadline).start()
    fencing.Asker(orders, settings.peer_login, clock, deadline=deadline).start()


def _opener(settings: config.Config, within: float, variables: Mapping[str, Any]) -> heartbeat.Open:
    name = settings.host or settings.login.unix_socket
    return heartbeat.opener(name, settings.host, settings.port, settings.login, within, variables)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="keeper", description="Keeps virtual addresses with the MySQL primary.")
    parser.add_argument("--config", default=config.PATH, help=f"the configuration file (default {config.PATH})")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="only check the configuration")
    action.add_argument("--release", action="store_true", help="take the addresses off this host, and end")
    options = parser.parse_args(arguments)
    journal = status.Journal()
    try:
        settings = config.load(options.config)
        if options.release:
            for vip in settings.addresses:
                if address.absent(vip):
                    journal.say(status.WARNING, f"{vip} removed from {vip.interface}: no keeper holds it")
        elif not options.check:
            run(settings)
    except HaError as error:
        journal.say(status.ERROR, str(error))
        return EXIT_CONFIG if error.code.startswith("config_") else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
