# SPDX-License-Identifier: GPL-3.0-or-later
"""Private JSON, and the line of everything in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.config_file import Document
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=15,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found += places(inner, (*place, key))
    return found


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 1]))
def test_everything_has_a_line_and_they_grow(data: dict[str, Any], indent: int | None) -> None:
    document = Document(json.dumps(data, indent=indent), "/x", "")
    assert document.data == data
    lines = [document.line(place) for place in places(data)]
    assert lines == sorted(lines)
    if indent:
        # With one value a line, everything but what opens the file has a line of its own.
        assert len(set(lines)) == len(lines)
    else:
        assert set(lines) == {1}


def test_the_same_key_in_two_places_has_two_lines() -> None:
    document = Document('{"a": {\n"name": 1},\n"b": [\n{"name": 2}]}', "/x", "")
    assert (document.line(("a", "name")), document.line(("b", 0, "name"))) == (2, 4)
    assert document.line(("b", 0, "missing")) == 4


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"a": 1,\n"b": {"c": 1,\n"c": 2}}', 3, "'c' is there twice"),
        ("[1]", 1, "one JSON object"),
        ('{"a": 1\n"b": 2}', 2, "delimiter"),
        ("", 1, "Expecting value"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, line: int, why: str) -> None:
    with pytest.raises(HaError) as caught:
        Document(text, "/x", "mend it")
    assert caught.value.code == "config_invalid"
    assert caught.value.message.startswith(f"/x, line {line}: ") and why in caught.value.message
    assert caught.value.next_step == "mend it"


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (True, bool, True),
        (1, bool, False),
        (True, int, False),
        (1, int, True),
        (1.5, int, False),
        (1, (int, float), True),
    ],
)
def test_true_is_no_number(value: Any, kind: Any, fits: bool) -> None:
    document = Document(json.dumps({"a": value}), "/x", "")
    if fits:
        assert document.fields(document.data, (), {"a": kind}, {}) == {"a": value}
    else:
        with pytest.raises(HaError):
            document.fields(document.data, (), {"a": kind}, {})
