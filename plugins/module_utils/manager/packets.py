# SPDX-License-Identifier: BSD-2-Clause
"""The little of MySQL's client protocol that a tick needs: one command out, one row or one error in. Pure.

Packets: three bytes of length (little-endian), one of sequence, then the payload. An answer with rows is: the number of
columns, that many descriptions, EOF, the rows, EOF (the connection is opened without CLIENT_DEPRECATE_EOF).
"""

from __future__ import annotations

from typing import Optional, Union

_OK, _EOF, _ERR, _NULL = 0x00, 0xFE, 0xFF, 0xFB
_HEADER = 4
_LARGEST = 0xFFFFFF


class Failed:
    """The server answered with an error. ``errno`` is MySQL's."""

    def __init__(self, errno: int, message: str) -> None:
        self.errno = errno
        self.message = message


Answer = Union[list[Optional[bytes]], Failed]


def query(sql: str) -> bytes:
    """COM_QUERY as it goes over the wire.

    :raises ValueError: too long for one packet.
    """
    payload = b"\x03" + sql.encode("utf-8")
    if len(payload) >= _LARGEST:
        raise ValueError("the statement is too long")
    return len(payload).to_bytes(3, "little") + b"\x00" + payload


class AnswerParser:
    """Collects the bytes of one answer after the other, for one connection.

    The descriptions of the columns are the same in every answer, so they are remembered and compared as a whole.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._heading = b""

    def feed(self, data: bytes) -> Optional[Answer]:
        """The answer once it is complete, else None. An answer without a row is an empty list.

        :raises ValueError: this is not what a server sends; the connection is of no use any more.
        """
        self._buffer += data
        buffer = self._buffer
        start = len(self._heading) if self._heading and buffer.startswith(self._heading) else self._skip_heading()
        if start is None:
            return None
        if isinstance(start, Failed):
            self._end(len(buffer))
            return start
        row: Optional[list[Optional[bytes]]] = None
        at = start
        while True:
            end = _end_of(buffer, at)
            if end is None:
                return None
            first = buffer[at + _HEADER] if end > at + _HEADER else _EOF
            if first == _ERR:
                failed = _failed(buffer, at, end)
                self._end(end)
                return failed
            if first == _EOF and end - at - _HEADER < 9:
                break
            if row is None:
                row = _row(buffer, at + _HEADER, end)
            at = end
        self._end(end)
        return row or []

    def _end(self, at: int) -> None:
        """:raises ValueError: more came than one answer, though one thing was asked."""
        surplus = len(self._buffer) - at
        self._buffer.clear()
        if surplus:
            raise ValueError(f"{surplus} bytes that nobody asked for")

    def _skip_heading(self) -> Union[int, Failed, None]:
        """Where the rows begin; None while it is not all there."""
        buffer = self._buffer
        end = _end_of(buffer, 0)
        if end is None:
            return None
        if end == _HEADER:
            raise ValueError("an empty packet where an answer begins")
        first = buffer[_HEADER]
        if first == _ERR:
            return _failed(buffer, 0, end)
        if first == _OK or first > 0xFA:
            raise ValueError(f"an answer that begins with {first:#x}")
        at = end
        for _column in range(first):
            end = _end_of(buffer, at)
            if end is None:
                return None
            at = end
        end = _end_of(buffer, at)
        if end is None:
            return None
        if buffer[at + _HEADER] != _EOF:
            raise ValueError("more columns than were announced")
        self._heading = bytes(buffer[:end])
        return end


def _end_of(buffer: bytearray, at: int) -> Optional[int]:
    """Where the packet that begins there ends; None while it is not all there."""
    if len(buffer) < at + _HEADER:
        return None
    length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
    if length == _LARGEST:
        raise ValueError("a packet of 16 MiB")
    end = at + _HEADER + length
    return end if len(buffer) >= end else None


def _failed(buffer: bytearray, at: int, end: int) -> Failed:
    payload = bytes(buffer[at + _HEADER : end])
    text = payload[3:]
    if text[:1] == b"#":
        text = text[6:]
    return Failed(int.from_bytes(payload[1:3], "little"), text.decode("utf-8", "replace"))


def _row(buffer: bytearray, at: int, end: int) -> list[Optional[bytes]]:
    columns: list[Optional[bytes]] = []
    data = bytes(buffer[at:end])
    at, end = 0, len(data)
    while at < end:
        length = data[at]
        at += 1
        if length == _NULL:
            columns.append(None)
            continue
        if length > _NULL:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(length)
            if width is None:
                raise ValueError("a column of no known length")
            length = int.from_bytes(data[at : at + width], "little")
            at += width
        if at + length > end:
            raise ValueError("a column that is longer than its row")
        columns.append(data[at : at + length])
        at += length
    return columns
