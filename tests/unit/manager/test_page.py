# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: well-formed, self-contained, nothing unescaped, nothing told by colour alone."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
import urllib.parse
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import glance, page, page_style
from hypothesis import given, settings
from hypothesis import strategies as st

from .face_samples import EXPLAINED, HISTORY, NOW, STATES, cluster, maintenance, many, member, recovery, status

VOID = {"meta", "link", "input", "br", "hr", "img"}
# Elements that HTML closes by itself, and that we close all the same.
SHAPES = {"path", "circle", "rect", "use"}


class Reader(html.parser.HTMLParser):
    """Follows the tags; a tag that closes what is not open is an error. Collects text, links, and what is loaded."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.errors: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in SHAPES:
            self.errors.append(f"<{tag}/> closes nothing in HTML")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.errors.append(f"</{tag}> inside {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            (self.scripts if self.open[-1] == "script" else self.styles).append(data)
        else:
            self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.errors == [] and reader.open == []
    return reader


def every_page() -> dict[str, str]:
    said = status(dict(STATES))
    return {
        "all": page.overview(said, HISTORY, NOW),
        "many": page.overview(status(many(300)), HISTORY * 5, NOW),
        "none": page.overview(status({}), [], NOW),
        "found": page.overview(said, HISTORY, NOW, find="refu"),
        "dry": page.overview(status({"a": STATES["would_act"]}, dry_run=True, tick_late_s=9.0), [], NOW),
        "gone": page.nothing_there("x", said, NOW),
        **{name: page.cluster(name, said, HISTORY, EXPLAINED, NOW) for name in STATES},
    }


@pytest.mark.parametrize("name", every_page())
def test_it_is_well_formed_and_loads_nothing(name: str) -> None:
    document = every_page()[name]
    reader = read(document)
    for tag, attributes in reader.tags:
        assert tag not in ("img", "iframe", "object", "embed", "base", "video", "audio")
        assert not [key for key in attributes if key.startswith("on") or key == "style"], "the policy forbids it"
        for key in ("href", "src", "action"):
            value = attributes.get(key)
            assert value is None or (value.startswith(("/", "#", "data:,")) and not value.startswith("//")), value
    assert not re.search(r"https?:|@import|url\(", document)


def test_the_reader_can_fail() -> None:
    for bad in ("<p><b></p></b>", "</p>", "<p>", "<div/>"):
        with pytest.raises(AssertionError):
            read(bad)


def test_the_policy_allows_exactly_the_style_and_the_script_of_the_page() -> None:
    reader = read(every_page()["all"])
    assert len(reader.scripts) == len(reader.styles) == 1
    for directive, content in (("script-src", reader.scripts[0]), ("style-src", reader.styles[0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in page.CONTENT_SECURITY_POLICY
    assert "unsafe" not in page.CONTENT_SECURITY_POLICY
    assert page.CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


def test_it_renews_itself_without_javascript_too() -> None:
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in every_page()["all"]


# --- what it says ----------------------------------------------------------------------------------------------------
def test_those_that_need_a_person_come_first_and_in_full() -> None:
    said = read(page.overview(status(many(300)), HISTORY, NOW)).said
    assert said.index("2 of 300 clusters need a person") < said.index("Needs a person 2") < said.index("Well 293")
    assert said.index("shop-007") < said.index("shop-001")
    assert "Bring back db3, then run mysql-ha explain." in said
    assert "Paused by anna until 2026-01-31 04:00:00 UTC: storage migration." in said


def test_hundreds_are_all_there_and_only_the_urgent_are_opened() -> None:
    document = page.overview(status(many(300)), [], NOW)
    for name in many(300):
        assert f'href="/?cluster={name}"' in document
    assert document.count("<article") == 5
    assert len(document) < 200_000


def test_a_storm_does_not_open_everything() -> None:
    found = {f"c{number}": STATES["refused"] for number in range(100)}
    document = page.overview(status(found), [], NOW)
    assert document.count("<article") == page.OPENED
    assert all(f'href="/?cluster={name}"' in document for name in found)


def test_a_cluster_says_who_hangs_on_whom() -> None:
    said = read(page.cluster("lagging", status(dict(STATES)), [], EXPLAINED, NOW)).said
    for words in ("db1", "primary", "attached", "follows db2", "5 min behind", "one / b", "disk is full", "read-only"):
        assert words in said


def test_who_may_acknowledge_is_said_where_it_is_known() -> None:
    members = {
        "db1": member(1),
        "db2": member(2, "db1", acknowledges=True),
        "db3": member(3, "db1", acknowledges=False),
    }
    said = read(page.overview(status({"a": cluster(members=members)}), [], NOW)).said
    assert "acknowledger" in said and "does not acknowledge" in said


def test_the_history_says_outcome_proof_outage_and_phases() -> None:
    said = read(page.overview(status({"ledger": STATES["healthy"]}), HISTORY, NOW)).said
    for words in (
        "promoted",
        "refused: nothing promoted",
        "failed on the way",
        "proven",
        "742 ms",
        "address 333 ms",
        "mysql-ha ack r-42",
        "ben",
        "after awx: ok in 120 ms",
        "Fewer acknowledgers answer",
    ):
        assert words in said, words


def test_an_operation_on_a_member_says_who_asked_what_was_done_and_what_may_die() -> None:
    members = {"db1": member(1), "db2": member(2, "db1"), "db3": member(3, answer="refused", out_of_service="new disk")}
    said = read(page.overview(status({"ledger": cluster(members=members)}), [maintenance()], NOW)).said
    for words in ("db3 taken out of service", "new disk (anna)", "lock lossless_repl_3 on db1", "k=1 of n=1"):
        assert words in said
    assert "out of service" in said and "needs a person" in said
    refusal = maintenance(outcome="refused", refusal=["db3 is the primary."])
    said = read(page.overview(status({}), [refusal], NOW)).said
    assert "db3 not taken out of service: refused" in said and "Why it was not done" in said


def test_a_hook_that_failed_is_seen_without_opening_anything() -> None:
    hooks = [{"name": "awx", "when": "after", "ok": False, "message": "status 500", "duration_ms": 10.0}]
    said = read(page.overview(status({"a": STATES["healthy"]}), [recovery(hooks=hooks)], NOW)).said
    assert "details, 1 hook failed" in said and "after awx: failed in 10 ms, status 500" in said


def test_a_late_manager_and_a_dry_run_are_said_on_top() -> None:
    said = read(every_page()["dry"]).said
    assert "All is well" not in said and "Look when you can 1" in said
    assert (
        said.index("The manager is late: this may be history")
        < said.index("9.0 s late")
        < said.index("Dry run:")
        < said.index("Why")
    )


def test_finding_shows_only_what_was_looked_for() -> None:
    document = page.overview(status(many(300)), HISTORY, NOW, find='SHOP-00"')
    assert 'value="SHOP-00&quot;"' in document and "0 of 300" in read(document).said
    some = read(page.overview(status(many(300)), HISTORY, NOW, find="SHOP-00")).said
    assert "9 of 300" in some and "shop-010" not in some and "r-40" not in some


@pytest.mark.parametrize("level", glance.LEVELS)
def test_each_level_has_a_shape_and_a_word(level: str) -> None:
    """Colour is never the only sign."""
    assert f'<symbol id="{level}"' in page_style.SIGNS
    shapes = re.findall(r"<symbol id=\"\w+\" viewBox=\"0 0 16 16\">(.*?)</symbol>", page_style.SIGNS)
    assert len(set(shapes)) == len(glance.LEVELS)
    assert glance.LEVELS[level] in read(every_page()["all"]).said


def test_light_and_dark_name_the_same_colours() -> None:
    light, dark = page_style.STYLE.split("@media (prefers-color-scheme:dark)", 1)
    names = re.compile(r"--[\w-]+(?=:)")
    assert set(names.findall(light)) == set(names.findall(dark.split("}}")[0]))


def _luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_everything_can_be_read(mode: str) -> None:
    """WCAG AA: 4.5 to 1 between words and what they stand on."""
    light, dark = page_style.STYLE.split("@media (prefers-color-scheme:dark)", 1)
    colours = dict(re.findall(r"--([\w-]+):#([0-9a-f]{3,6})", light if mode == "light" else dark.split("}}")[0]))
    pairs = [(ink, ground) for ink in ("ink", "soft") for ground in ("paper", "card")]
    for level in ("person", "acting", "notice", "quiet", "well"):
        pairs += [(level, "card")] + ([("ink", f"{level}-wash"), ("soft", f"{level}-wash")] if level != "well" else [])
    for ink, ground in pairs:
        high, low = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (mode, ink, ground)


@given(st.text(min_size=1))
def test_the_address_of_a_cluster_is_its_name(name: str) -> None:
    address = page._address(name)
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(address).query) == {"cluster": [name]}
    assert re.fullmatch(r"/\?cluster=[A-Za-z0-9._~%-]+", address)


# --- what comes from elsewhere ---------------------------------------------------------------------------------------
EVIL = "<script>alert('&amp;\"x')</script>"


def _poisoned(value: Any, evil: str) -> Any:
    """Every text in a structure, keys of named things too, replaced."""
    if isinstance(value, dict):
        return {key: _poisoned(entry, evil) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_poisoned(entry, evil) for entry in value]
    return evil if isinstance(value, str) else value


def test_nothing_gets_in_unescaped() -> None:
    states = {f"{EVIL}{number}": _poisoned(found, EVIL) for number, found in enumerate(STATES.values())}
    for keep in ("verdict", "action"):
        for found, original in zip(states.values(), STATES.values(), strict=True):
            found[keep] = original[keep]
    said = status(states, version=EVIL, host=EVIL)
    history = [{**_poisoned(entry, EVIL), "outcome": entry["outcome"]} for entry in HISTORY]
    for document in (
        page.overview(said, history, NOW),
        page.overview(said, history, NOW, find=EVIL),
        page.cluster(next(iter(states)), said, history, _poisoned(EXPLAINED, EVIL), NOW),
        page.nothing_there(EVIL, said, NOW),
    ):
        assert len(read(document).scripts) == 1
        assert "<script>alert" not in document


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(
    st.text(min_size=1),
    st.dictionaries(st.sampled_from(sorted(cluster())), _ANYTHING),
    st.dictionaries(st.sampled_from(sorted(recovery())), _ANYTHING),
    st.text(),
)
def test_any_text_and_any_shape_stays_a_page(
    name: str, changes: dict[str, Any], past: dict[str, Any], find: str
) -> None:
    said = status({name: STATES["refused"]})
    said["clusters"][name] = cluster(**changes)
    history = [recovery(**past)]
    for document in (
        page.overview(said, history, NOW, find=find),
        page.cluster(name, said, history, {**EXPLAINED, "would": find, "plan": past.get("reasons")}, NOW),
    ):
        assert len(read(document).scripts) == 1
