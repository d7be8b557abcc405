# SPDX-License-Identifier: BSD-2-Clause
"""DECIMAL as MySQL stores it, in rows and inside JSON. Pure."""

from __future__ import annotations

import decimal

from .events import malformed

DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes of a group of that many digits."""


def decimal_size(digits: int, scale: int) -> int:
    """Bytes of a DECIMAL(digits, scale)."""
    whole = digits - scale
    return whole // 9 * 4 + DIGIT_BYTES[whole % 9] + scale // 9 * 4 + DIGIT_BYTES[scale % 9]


def decode_decimal(data: bytes, digits: int, scale: int) -> decimal.Decimal:
    """Groups of nine digits, the odd ones outermost, big-endian; the first bit is set when not negative.

    All bits of a negative number are inverted.
    """
    whole = digits - scale
    groups = [whole % 9, *[9] * (whole // 9), *[9] * (scale // 9), scale % 9]
    if len(data) < decimal_size(digits, scale):
        raise malformed("DECIMAL", f"{len(data)} bytes for {digits} digits")
    negative = not data[0] & 0x80
    raw = int.from_bytes(data, "big") ^ (1 << len(data) * 8 - 1)
    if negative:
        raw ^= (1 << len(data) * 8) - 1
    plain = raw.to_bytes(len(data), "big")
    position, text = 0, ""
    for count in groups:
        end = position + DIGIT_BYTES[count]
        if count:
            text += f"{int.from_bytes(plain[position:end], 'big'):0{count}d}"
        position = end
    point = len(text) - scale
    return decimal.Decimal(f"{'-' if negative else ''}{text[:point] or '0'}.{text[point:]}")
