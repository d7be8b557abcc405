"""The order of measurements that are to be compared: side by side, so that what the machine does hits all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Variant = TypeVar("Variant")


def interleaved(variants: Sequence[Variant], rounds: int) -> Iterator[tuple[int, Variant]]:
    """ABCABC...: each round has every variant once, so at any moment all have as many samples, but for one."""
    for number in range(rounds):
        for variant in variants:
            yield number, variant


def there_and_back(variants: Sequence[Variant], rounds: int) -> Iterator[tuple[int, Variant]]:
    """ABCCBAABC...: as ``interleaved``, and none is always the one that comes after the same other."""
    for number in range(rounds):
        for variant in reversed(variants) if number % 2 else variants:
            yield number, variant
