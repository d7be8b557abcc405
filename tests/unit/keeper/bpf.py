# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a packet filter on a frame, as the kernel would."""

from __future__ import annotations

from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import frames


def run(program: frames.FilterProgram, frame: bytes) -> bool:
    """Classic BPF, as far as it is used; a load beyond the frame rejects it, as in the kernel."""
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, constant = program[place]
        place += 1
        if code in (0x20, 0x30):
            size = 4 if code == 0x20 else 1
            if constant + size > len(frame):
                return False
            accumulator = int.from_bytes(frame[constant : constant + size], "big")
        elif code == 0x15:
            place += if_true if accumulator == constant else if_false
        elif code == 0x06:
            return constant != 0
        else:
            raise AssertionError(f"unknown instruction {code:#x}")
