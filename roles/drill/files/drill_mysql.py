# SPDX-License-Identifier: GPL-3.0-or-later
"""How the drill's programs reach a MySQL server: one way to connect, one way to tell of an error.

PyMySQL opens the session, but the socket is made here: only so can a connection to a host that vanished be given
up by the kernel (TCP_USER_TIMEOUT), and be *asked* every second whether its peer still knows it (keep-alive), which
is what tells a waiting client that its address has moved: the new holder answers the probe with a reset.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import pymysql
from drill_common import positive, required
from pymysql.connections import Connection

CONNECTION_KEYS = (
    "user",
    "password",
    "tls",
    "tls_ca",
    "tls_verify_identity",
    "connect_timeout",
    "handshake_timeout",
    "read_timeout",
)
"""Configuration keys that `access_from` reads. Times in seconds."""


@dataclass(frozen=True)
class Access:
    """Everything needed to open a session but the address. Times in seconds."""

    user: str
    password: str
    tls: ssl.SSLContext | None
    connect_timeout: float
    handshake_timeout: float
    read_timeout: float

    def __repr__(self) -> str:
        return f"Access(user={self.user!r})"  # the generated one would print the password


def access_from(config: dict[str, Any], read_timeout: float = 5.0) -> Access:
    """The access that a configuration describes. Raises ConfigError, or OSError when the CA cannot be read."""
    required(config, "user", "password")
    return Access(
        user=str(config["user"]),
        password=str(config["password"]),
        tls=_tls_context(config),
        connect_timeout=positive(config, "connect_timeout", 0.3),
        handshake_timeout=positive(config, "handshake_timeout", 1.0),
        read_timeout=positive(config, "read_timeout", read_timeout),
    )


def _tls_context(config: dict[str, Any]) -> ssl.SSLContext | None:
    """None without TLS; with a CA the chain is verified, and the name too if asked for; without one only encrypted."""
    authority = config.get("tls_ca")
    if not authority and not config.get("tls"):
        return None
    context = ssl.create_default_context(cafile=authority or None)
    # Python 3.13 demands extensions that the certificates mysqld makes for itself do not have; the chain is still
    # verified.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    # Through a virtual address the server's name is seldom the one dialled: the name is checked only on request.
    context.check_hostname = bool(authority and config.get("tls_verify_identity"))
    context.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
    return context


def open_session(address: str, port: int, access: Access, autocommit: bool = False) -> Connection[Any]:
    """Connect and authenticate. Raises pymysql.err.Error or OSError; leaves no socket behind when it does."""
    session = pymysql.connect(
        host=address,
        port=port,
        user=access.user,
        password=access.password,
        charset="utf8mb4",
        ssl=access.tls,
        autocommit=autocommit,
        read_timeout=access.handshake_timeout,
        write_timeout=access.read_timeout,
        defer_connect=True,
    )
    session.connect(_socket(address, port, access))
    # A server that accepts and then says nothing (frozen, or its address gone) must cost the short time-out; a
    # commit that waits for its acknowledgement may take the long one. PyMySQL has one setting for both.
    session._read_timeout = access.read_timeout  # type: ignore[attr-defined]
    return session


def _socket(address: str, port: int, access: Access) -> socket.socket:
    """A TCP connection that is given up after the read time-out, however its peer went away. Raises OSError."""
    connection = socket.create_connection((address, port), access.connect_timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 1),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", int(access.read_timeout * 1000)),
    ):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return connection


def discard(session: Connection[Any] | None) -> None:
    """Close a session that is not to be used again, in whatever state it is."""
    if session is None or not session.open:
        return
    # It is thrown away because it is broken: that closing it fails adds nothing.
    with contextlib.suppress(pymysql.err.Error, OSError):
        session.close()


def error_number(error: BaseException) -> int | None:
    """The server's or PyMySQL's error number; None for errors that have none (sockets, TLS)."""
    if isinstance(error, pymysql.err.Error) and error.args and isinstance(error.args[0], int):
        return error.args[0] or None
    return None


def error_document(error: BaseException, access: Access) -> dict[str, Any]:
    """{"number": int or null, "text": str}, the text cut to 200 characters and without the password."""
    parts = error.args[1:] if error_number(error) else error.args
    text = " ".join(str(part) for part in parts) or type(error).__name__
    if access.password:
        text = text.replace(access.password, "********")
    return {"number": error_number(error), "text": f"{type(error).__name__}: {text}"[:200]}
