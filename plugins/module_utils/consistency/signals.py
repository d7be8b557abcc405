# SPDX-License-Identifier: BSD-2-Clause
"""An end by a signal that is one like any other: what was stopped runs again, and what was locked is let go of."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def as_exit() -> Iterator[None]:
    """SIGTERM (a service is stopped) and SIGHUP (a connection is lost) raise ``SystemExit`` meanwhile.

    Only the main thread can see to that; in any other nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """They come when this is over: what is put right must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda one, _frame: came.append(one)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came[:1]:
            signal.raise_signal(one)


def _end(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)
