# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers in any number of pieces come out whole; what is no answer ends the connection."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.packets import AnswerParser, Failed, query
from hypothesis import given
from hypothesis import strategies as st

from .peer import failure, packet, result

CELLS = st.lists(st.one_of(st.none(), st.text(max_size=400)), min_size=1, max_size=30)


@given(st.lists(CELLS, min_size=1, max_size=4), st.integers(1, 5000))
def test_whatever_the_pieces_the_row_comes_out(rows: list[list[str | None]], size: int) -> None:
    parser = AnswerParser()
    for row in rows:
        data = result([f"c{n}" for n in range(len(row))], [row])
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        answers = [parser.feed(piece) for piece in pieces]
        assert answers[:-1] == [None] * (len(pieces) - 1)
        assert answers[-1] == [None if cell is None else cell.encode() for cell in row]


def test_errors_at_both_places_and_answers_without_a_row() -> None:
    parser = AnswerParser()
    found = parser.feed(failure(1146, "no such table"))
    assert isinstance(found, Failed) and (found.errno, found.message) == (1146, "no such table")
    assert parser.feed(result(["a"], [])) == []
    whole = result(["a"], [["1"]])
    found = parser.feed(whole[: -len(packet(0, b"\xfe\0\0\x02\0")) - 6] + failure(3024, "interrupted", 4))
    assert isinstance(found, Failed) and found.errno == 3024
    assert parser.feed(whole) == [b"1"]


@pytest.mark.parametrize(
    "data",
    [
        packet(1, b""),
        packet(1, b"\0\0\0\x02\0\0\0"),
        packet(1, b"\xfb/etc/passwd"),
        b"\xff\xff\xff\x01",
        packet(1, b"\x01") + packet(2, b"def") + packet(3, b"\x05oops"),
        result(["a"], [["1"]]) + b"more",
        packet(1, b"\x01")
        + packet(2, b"x")
        + packet(3, b"\xfe\0\0\x02\0")
        + packet(4, b"\x09short")
        + packet(5, b"\xfe"),
    ],
)
def test_what_no_server_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        AnswerParser().feed(data)


@given(st.binary(max_size=200))
def test_no_bytes_end_in_anything_else(data: bytes) -> None:
    try:
        AnswerParser().feed(data)
    except ValueError:
        return


def test_a_command() -> None:
    assert query("SELECT 1") == b"\x09\0\0\0\x03SELECT 1"
    with pytest.raises(ValueError):
        query("x" * 0xFFFFFF)
