# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements side by side: whatever happens, and wherever it ends, it hits all variants alike."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.interleave import interleaved


def test_order() -> None:
    assert "".join(variant for _round, variant in interleaved("ABC", 3)) == "ABCABCABC"


@given(st.integers(1, 5), st.integers(0, 8), st.integers(0, 40))
def test_every_prefix_is_fair(variants: int, rounds: int, length: int) -> None:
    prefix = list(interleaved(range(variants), rounds))[:length]
    counts = Counter(variant for _round, variant in prefix)
    seen = [counts[variant] for variant in range(variants)]
    assert max(seen) - min(seen) <= 1
    assert len(prefix) == min(length, variants * rounds)
