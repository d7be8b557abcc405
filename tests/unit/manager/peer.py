# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer on loopback that speaks as much of MySQL's protocol as the manager uses, with and without TLS.

One thread for each connection, blocking: what it does is easy to see. ``Peer.columns`` is what it answers to the
question of a tick; ``mute`` keeps its answers back until it is cleared.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import question

_SSL = 0x800
# LONG_PASSWORD, LONG_FLAG, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_RESULTS, PLUGIN_AUTH and what goes with it
_CAPABILITIES = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x20000 | 0x80000 | 0x100000 | 0x200000

Columns = dict[str, "str | None"]


def uuid_of(number: int) -> str:
    return f"{number:08d}-0000-0000-0000-{number:012d}"


def member_rows(size: int) -> str:
    """The members of a term row, db1 to dbN."""
    return json.dumps(
        [
            {"name": f"db{i}", "server_uuid": uuid_of(i), "host": "127.0.0.1", "port": i, "acknowledges": True}
            for i in range(1, size + 1)
        ]
    )


def columns(number: int, *, primary: int = 1, size: int = 3, k: int = 1, **changes: str | None) -> Columns:
    """What server ``dbN`` says in a healthy cluster."""
    is_primary = number == primary
    values: Columns = {
        "server_uuid": uuid_of(number),
        "read_only": "0" if is_primary else "1",
        "offline": "0",
        "clock": "1763700000.250000",
        "revision": "3",
        "term": "2",
        "primary_uuid": uuid_of(primary),
        "members": member_rows(size),
        "k": str(k),
        "beat_term": "2",
        "beat_sequence": "17",
        "beat_written_at": "1763700000.100000",
        "receiver": None if is_primary else "ON",
        "source_uuid": None if is_primary else uuid_of(primary),
        "heartbeats": None if is_primary else "5",
        "last_queued": None if is_primary else f"{uuid_of(primary)}:99",
        "queueing": None if is_primary else "",
        "error_number": None if is_primary else "0",
        "error": None if is_primary else "",
        "relay_bytes": "0" if is_primary else "4711",
        "source_enabled": "1" if is_primary else "0",
        "wait_count": str(k),
        "replica_enabled": "0" if is_primary else "1",
        "source_status": "Rpl_semi_sync_source_clients=2,Rpl_semi_sync_source_no_tx=0,Rpl_semi_sync_source_status=ON,"
        "Rpl_semi_sync_source_wait_sessions=1,Uptime=4242"
        if is_primary
        else None,
    }
    unknown = set(changes) - set(values)
    assert not unknown, unknown
    return {**values, **changes}


def lenenc(data: bytes) -> bytes:
    if len(data) < 251:
        return bytes([len(data)]) + data
    return b"\xfc" + struct.pack("<H", len(data)) + data


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence % 256]) + payload


def result(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> bytes:
    payloads = [bytes([len(names)])]
    for name in names:
        head = b"".join(lenenc(part) for part in (b"def", b"", b"", b"", name.encode(), name.encode()))
        payloads.append(head + b"\x0c" + struct.pack("<HIBHBH", 255, 1024, 253, 0, 0, 0))
    payloads.append(b"\xfe\0\0\x02\0")
    for row in rows:
        payloads.append(b"".join(b"\xfb" if cell is None else lenenc(cell.encode()) for cell in row))
    payloads.append(b"\xfe\0\0\x02\0")
    return b"".join(packet(number, payload) for number, payload in enumerate(payloads, 1))


def failure(errno: int, message: str, sequence: int = 1) -> bytes:
    return packet(sequence, b"\xff" + struct.pack("<H", errno) + b"#HY000" + message.encode())


class Peer:
    """A server. ``close`` is a mysqld that was killed: the port is closed, every connection ends."""

    def __init__(self, answer: Columns, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.columns = answer
        self.tls = tls
        self.mute = threading.Event()
        self.greets = True
        self.error: tuple[int, str] | None = None
        self.login_error: tuple[int, str] | None = None
        self.asked = 0
        self.logins = 0
        self.variables = ("rpl_semi_sync_source_enabled", "rpl_semi_sync_replica_enabled")
        self._talk = threading.Event()
        self._talk.set()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Answer nothing from now on, like a process that was stopped."""
        self._talk.clear()

    def go_on(self) -> None:
        self._talk.set()

    def drop_connections(self) -> None:
        """End every connection, and go on listening."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        if self._open:
            self._open = False
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.drop_connections()
        self._talk.set()

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        try:
            if self.greets:
                self._converse(connection)
            else:
                connection.recv(1)
        except (OSError, EOFError):
            pass
        finally:
            self._connections.discard(connection)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._talk.wait()
        capabilities = _CAPABILITIES | (_SSL if self.tls else 0)
        greeting = (
            b"\x0a9.7.4\0"
            + struct.pack("<I", 7)
            + b"12345678\0"
            + struct.pack("<H", capabilities & 0xFFFF)
            + b"\xff"
            + struct.pack("<HH", 2, capabilities >> 16)
            + b"\x15"
            + bytes(10)
            + b"123456789012\0mysql_native_password\0"
        )
        connection.sendall(packet(0, greeting))
        sequence, login = _receive(connection)
        if self.tls is not None and len(login) == 32:
            self._connections.discard(connection)
            connection = self.tls.wrap_socket(connection, server_side=True)
            self._connections.add(connection)
            sequence, login = _receive(connection)
        self.logins += 1
        if self.login_error is not None:
            connection.sendall(failure(*self.login_error, sequence=sequence + 1))
            return
        connection.sendall(packet(sequence + 1, b"\0\0\0\x02\0\0\0"))
        while True:
            _sequence, command = _receive(connection)
            self._talk.wait()
            connection.sendall(self._answer(command[1:].decode()))

    def _answer(self, sql: str) -> bytes:
        if sql.startswith("SELECT @@GLOBAL.server_uuid"):
            self.asked += 1
            if self.error is not None:
                return failure(*self.error)
            values = self.columns
            return result([f"c{n}" for n in range(len(question.NAMES))], [[values[n] for n in question.NAMES]])
        if sql.startswith("SELECT @@version"):
            return result(["version", "comment"], [["9.7.4", "MySQL Community Server"]])
        if "rpl" in sql:
            return result(["name"], [[name] for name in self.variables])
        return packet(1, b"\0\0\0\x02\0\0\0")


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    header = _exactly(connection, 4)
    return header[3], _exactly(connection, int.from_bytes(header[:3], "little"))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
