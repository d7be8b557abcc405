# SPDX-License-Identifier: BSD-2-Clause
"""Asks a manager's HTTP service: over its unix socket, where root needs no token, or over a URL."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import socket
import stat
import urllib.parse
from pathlib import Path
from typing import Any, Mapping, Optional

from ..errors import HaError

SOCKET = "/run/lossless-mysql-ha-manager/manager.sock"
ANSWER_LIMIT = 64 << 20


class _SocketConnection(http.client.HTTPConnection):
    """HTTP through a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclasses.dataclass(frozen=True)
class Client:
    """Where the manager is: ``url``, or else ``socket_path``. ``timeout``: seconds to wait for an answer."""

    socket_path: str = SOCKET
    url: str = ""
    token: str = dataclasses.field(default="", repr=False)
    timeout: float = 10.0

    def get(self, *parts: str, query: Optional[Mapping[str, str]] = None) -> Any:
        """``get("api", "clusters", name)``: what the service answers.

        :raises HaError: ``manager_unreachable``, or what the manager says.
        """
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return self._ask("GET", _path(parts) + tail, None)

    def post(self, *parts: str, body: Mapping[str, Any]) -> Any:
        """As ``get``, for what changes something."""
        return self._ask("POST", _path(parts), json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: Optional[bytes]) -> Any:
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection, prefix = self._connection()
        try:
            connection.request(method, prefix + path, body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(_why(error)) from error
        finally:
            connection.close()
        return self._understood(status, text)

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        if not self.url:
            return _SocketConnection(self.socket_path, self.timeout), ""
        parts = urllib.parse.urlsplit(self.url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            if parts.scheme in kinds and parts.hostname:
                return kinds[parts.scheme](parts.hostname, parts.port, timeout=self.timeout), parts.path.rstrip("/")
        except ValueError:
            pass  # the port is no number: said below
        raise HaError("url_invalid", f"{self.url!r} is no URL of a manager", next_step="Give http(s)://host:port.")

    def _understood(self, status: int, text: bytes) -> Any:
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise self._unreachable(f"what answers (status {status}) is no manager") from error
        if status < 400:
            return answer
        if not isinstance(answer, dict) or not isinstance(answer.get("code"), str):
            raise self._unreachable(f"what answers (status {status}) is no manager")
        evidence = answer.get("evidence")
        raise HaError(
            answer["code"],
            str(answer.get("message", "")),
            evidence=evidence if isinstance(evidence, dict) else {},
            next_step=str(answer.get("next_step", "")),
        )

    def _unreachable(self, why: str) -> HaError:
        where = self.url or self.socket_path
        return HaError(
            "manager_unreachable",
            f"the manager does not answer at {where}: {why}",
            evidence={"where": where},
            next_step="Is it running (systemctl status lossless-mysql-ha-manager), and are you root on its host?",
        )


def _path(parts: tuple[str, ...]) -> str:
    return "".join("/" + urllib.parse.quote(part, safe="") for part in parts)


def _why(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or "") or str(error) or type(error).__name__


def read_token(path: str) -> str:
    """The token in a file that nobody else may read.

    :raises HaError: ``token_unreadable``, ``token_not_private``.
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise HaError("token_unreadable", f"{path}: {why}", next_step="Give the file that holds the token.") from error
    if mode & 0o077:
        raise HaError("token_not_private", f"others may read {path} (mode {mode:04o})", next_step=f"chmod 0600 {path}")
    if not token.isprintable() or not token:
        raise HaError("token_unreadable", f"{path}: it does not hold one token", next_step="One line, nothing else.")
    return token
