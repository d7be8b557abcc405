# SPDX-License-Identifier: BSD-2-Clause
"""MySQL's collation numbers and the Python codecs that read their texts as the server does. Pure.

Only character sets whose texts come out the same as from the server are here (an integration test asks it for every
byte). A text of another one stays bytes: nothing is lost, and nothing is guessed.
"""

from __future__ import annotations

import codecs
from typing import Callable, Optional, Union

BINARY = 63

UTF8 = "utf-8"
LATIN1 = "mysql-latin1"
_UTF16, _UTF16LE, _UTF32 = "utf-16-be", "utf-16-le", "utf-32-be"

_LATIN1_MAP = "".join(
    bytes([byte]).decode("cp1252") if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(byte) for byte in range(256)
)
"""cp1252, with the five bytes that it leaves undefined meaning themselves."""

_RANGES: tuple[tuple[int, int, str], ...] = (
    (33, 33, UTF8),
    (76, 76, UTF8),
    (83, 83, UTF8),
    (192, 215, UTF8),
    (223, 247, UTF8),
    (45, 46, UTF8),
    (255, 323, UTF8),
    (5, 5, LATIN1),
    (8, 8, LATIN1),
    (15, 15, LATIN1),
    (31, 31, LATIN1),
    (47, 49, LATIN1),
    (94, 94, LATIN1),
    (11, 11, "ascii"),
    (65, 65, "ascii"),
    (35, 35, _UTF16),
    (90, 90, _UTF16),
    (128, 151, _UTF16),
    (159, 159, _UTF16),
    (54, 55, _UTF16),
    (101, 124, _UTF16),
    (56, 56, _UTF16LE),
    (62, 62, _UTF16LE),
    (60, 61, _UTF32),
    (160, 183, _UTF32),
)
_CODECS = {number: codec for first, last, codec in _RANGES for number in range(first, last + 1)}


_WIDE = frozenset({_UTF16, _UTF16LE, _UTF32})


def codec_of(collation: Optional[int]) -> Optional[str]:
    """What ``decoder`` takes; None for binary strings and for character sets that stay bytes."""
    return None if collation is None else _CODECS.get(collation)


def decoder(codec: str) -> Callable[[bytes], Union[str, bytes]]:
    """Makes text of bytes; leaves them as they are when they are none."""
    if codec == LATIN1:
        return _latin1

    def decode(data: bytes) -> Union[str, bytes]:
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            return data

    return decode


def _latin1(data: bytes) -> str:
    return codecs.charmap_decode(data, "strict", _LATIN1_MAP)[0]


def text(data: bytes, codec: Optional[str]) -> Optional[str]:
    """A label; None: its bytes are no text of that character set, or it is none of those above."""
    if data.isascii() and codec not in _WIDE:
        return data.decode("ascii")
    decoded = decoder(codec)(data) if codec else data
    return decoded if isinstance(decoded, str) else None
