# SPDX-License-Identifier: BSD-2-Clause
"""Decompressing zstd: Python's own from 3.14 on, before that the system's libzstd, which systemd and the package
managers of every supported system need anyway.

``zstd`` has of ``compression.zstd`` what this room uses, ``ZstdDecompressor`` and ``ZstdError``. It is None where there
is neither.
"""

from __future__ import annotations

import ctypes
from typing import Any, Optional

_LIBRARY = "libzstd.so.1"


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


def _library() -> Optional[Any]:
    try:
        library = ctypes.CDLL(_LIBRARY)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        for name, result, arguments in (
            ("ZSTD_createDStream", pointer, ()),
            ("ZSTD_freeDStream", size, (pointer,)),
            ("ZSTD_decompressStream", size, (pointer, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer))),
            ("ZSTD_isError", ctypes.c_uint, (size,)),
            ("ZSTD_getErrorName", ctypes.c_char_p, (size,)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library


class ZstdError(Exception):
    """What libzstd says of bytes that are none of its own."""


class LibraryZstd:
    """``compression.zstd`` by libzstd."""

    ZstdError = ZstdError

    def __init__(self, library: Any) -> None:
        self._library = library

    def ZstdDecompressor(self) -> _Decompressor:  # pylint: disable=invalid-name
        """Named as in ``compression.zstd``."""
        return _Decompressor(self._library)


class _Decompressor:
    """One frame, piece by piece.

    ``eof``: the frame has ended. ``needs_input``: nothing more comes out until more is put in.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._context: Optional[int] = library.ZSTD_createDStream()
        if not self._context:
            raise MemoryError("libzstd")
        self._left = b""
        self.eof = False
        self.needs_input = True

    def __del__(self) -> None:
        context, self._context = getattr(self, "_context", None), None
        if context:
            self._library.ZSTD_freeDStream(context)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most ``max_length`` bytes more.

        :raises ZstdError: broken bytes.
        """
        given = self._left + data
        room = ctypes.create_string_buffer(max_length)
        source = _Buffer(ctypes.cast(ctypes.c_char_p(given), ctypes.c_void_p), len(given), 0)
        target = _Buffer(ctypes.cast(room, ctypes.c_void_p), max_length, 0)
        while not self.eof:
            before = (source.position, target.position)
            result = self._library.ZSTD_decompressStream(self._context, ctypes.byref(target), ctypes.byref(source))
            if self._library.ZSTD_isError(result):
                raise ZstdError(self._library.ZSTD_getErrorName(result).decode("ascii", "replace"))
            self.eof = result == 0
            if target.position == target.size or (source.position, target.position) == before:
                break
        self._left = given[source.position :]
        self.needs_input = not self.eof and target.position < target.size
        return room.raw[: target.position]


def _found() -> Optional[Any]:
    try:  # Python 3.14 and later
        from compression import zstd as own  # type: ignore[import-not-found, unused-ignore]  # novm
    except ImportError:
        library = _library()
        return LibraryZstd(library) if library is not None else None
    return own


zstd: Any = _found()
