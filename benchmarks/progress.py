"""Saying what goes on, to a person who waits."""

from __future__ import annotations

import sys
import time


def say(text: str) -> None:
    sys.stderr.write(f"[bench {time.strftime('%T')}] {text}\n")
    sys.stderr.flush()
