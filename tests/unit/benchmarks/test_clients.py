# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients: no id twice, every client in one process."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.clients import divided, identifiers


@given(st.integers(1, 200), st.integers(1, 16))
def test_every_client_is_in_one_part(count: int, parts: int) -> None:
    found = divided(count, parts)
    assert list(itertools.chain(*found)) == list(range(count))
    assert len(found) == min(count, parts)
    assert max(map(len, found)) - min(map(len, found)) <= 1


@given(st.integers(0, 998), st.floats(1.7e9, 9.0e9), st.floats(1.0, 1e5))
def test_ids_are_nobody_elses(client: int, now: float, later: float) -> None:
    mine = identifiers(client, now)
    assert mine.stop <= identifiers(client + 1, now).start
    assert identifiers(999, now).stop <= identifiers(0, now + later + 0.001).start
    assert mine.stop < 2**63


def test_too_many_clients() -> None:
    with pytest.raises(ValueError, match="1000"):
        identifiers(1000, 1.7e9)
