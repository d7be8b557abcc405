# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a comparison, read by a parser that is stricter than node_exporter."""

from __future__ import annotations

import re
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings, metrics
from hypothesis import given
from hypothesis import strategies as st

from . import reports

NAME = re.compile(r"mysql_ha_consistency_[a-z_]+")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
Labels = dict[str, str]


class Malformed(Exception):
    """Text that is no exposition of format 0.0.4."""


def parse(text: str) -> dict[str, list[tuple[Labels, float]]]:
    """The samples by family: HELP, TYPE, then samples of that family, none of them twice."""
    if not text.endswith("\n"):
        raise Malformed("the last line does not end")
    text.encode("utf-8")
    found: dict[str, list[tuple[Labels, float]]] = {}
    helped = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            if helped in found:
                raise Malformed(f"{line}: twice")
        elif line.startswith("# TYPE "):
            if line != f"# TYPE {helped} gauge" or not NAME.fullmatch(helped):
                raise Malformed(line)
            found[helped] = []
        else:
            name, brace, rest = line.partition("{")
            labels_text, _brace, value = rest.rpartition("} ")
            if not brace or name != helped or name not in found or not NUMBER.fullmatch(value):
                raise Malformed(line)
            sample = (_labels(labels_text), float(value))
            if sample[0] in [labels for labels, _value in found[name][-50:]]:
                raise Malformed(f"{line}: twice")
            found[name].append(sample)
    if [name for name, samples in found.items() if not samples]:
        raise Malformed("a family without samples")
    return found


def _labels(text: str) -> Labels:
    found: Labels = {}
    while text:
        match = LABEL.match(text)
        if match is None or match[1] in found:
            raise Malformed(text)
        found[match[1]] = re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), match[2])
        text = text[match.end() :]
    return found


def render(report: dict[str, Any], last: Optional[float] = None) -> dict[str, list[tuple[Labels, float]]]:
    found = parse(metrics.render(report, "whole", last))
    return {name.removeprefix("mysql_ha_consistency_"): samples for name, samples in found.items()}


@pytest.mark.parametrize(
    "bad",
    [
        "a 1",
        'mysql_ha_consistency_x{a="b"} 1\n',
        "# HELP mysql_ha_consistency_x y\n# TYPE mysql_ha_consistency_x gauge\n",
    ],
)
def test_the_parser_can_fail(bad: str) -> None:
    with pytest.raises(Malformed):
        parse(bad)


def test_a_pass() -> None:
    found = render(reports.passing(), reports.NOW)
    base = {"cluster": "ledger", "run": "whole"}
    assert found["passed"] == [(base, 1.0)]
    assert found["last_run_timestamp_seconds"] == found["last_passed_run_timestamp_seconds"] == [(base, reports.NOW)]
    assert found["rows"] == [(base, 720_000.0)] and found["differences"] == [(base, 0.0)]
    assert found["covered_ratio"] == [(base, 1.0)] and found["tables_not_listed"] == [(base, 0.0)]
    assert [value for _labels, value in found["table_passed"]] == [1.0] * 6
    assert "table_verdict" not in found and "replica_verdict" not in found


def test_one_of_everything() -> None:
    found = render(reports.rich(), 5.0)
    assert found["passed"][0][1] == 0.0 and found["finished"][0][1] == 0.0
    holds = [labels["verdict"] for labels, value in found["verdict"] if value == 1.0]
    assert holds == [findings.DIFFERENT] and len(found["verdict"]) == len(findings.GRAVITY)
    ledger = [(labels, value) for labels, value in found["table_differences"] if labels["table"] == "ledger"]
    assert ledger == [
        (
            {
                "cluster": "ledger",
                "run": "whole",
                "schema": "bank",
                "table": "ledger",
                "replica": "db2",
                "mode": "whole",
            },
            140.0,
        )
    ]
    codes = {(labels["table"], labels["verdict"], labels["code"]) for labels, _value in found["table_verdict"]}
    assert ("event", "lagging", "replica_late") in codes
    broken = [labels["assertion"] for labels, value in found["assertion_passed"] if value == 0.0]
    assert broken == ["order totals are the sums of their lines", "orders by state"]
    assert {labels["replica"] for labels, _value in found["replica_verdict"]} == {"db3", "db4"}
    assert found["last_passed_run_timestamp_seconds"][0][1] == 5.0


def test_what_never_was_gives_no_sample() -> None:
    assert "last_passed_run_timestamp_seconds" not in render(reports.passing())
    found = render({"cluster": "ledger"})
    assert found["passed"][0][1] == 0.0
    assert not {"rows", "differences", "last_run_timestamp_seconds", "covered_ratio"} & set(found)


def test_hostile_names_are_labels_and_nothing_more() -> None:
    report = reports.hostile()
    found = render(report)
    escaped = report["cluster"].encode("utf-8", "backslashreplace").decode()
    assert found["passed"][0][0]["cluster"] == escaped
    assert len(found["table_passed"]) == len(report["tables"])


def test_without_escaping_the_parser_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_escaped", str)
    with pytest.raises((Malformed, UnicodeEncodeError)):
        render(reports.hostile())


@given(st.text(), st.text())
def test_any_name_can_be_read_back(cluster: str, name: str) -> None:
    entry = {**reports.table(), "table": name}
    found = render(reports.passing(cluster=cluster, tables=[entry]))
    labels = found["table_passed"][0][0]
    assert labels["cluster"] == cluster.encode("utf-8", "backslashreplace").decode()
    assert labels["table"] == name.encode("utf-8", "backslashreplace").decode()


def test_the_same_result_twice_is_one_sample_so_that_the_file_is_taken() -> None:
    assert len(render(reports.passing(tables=[reports.table("a.b")] * 2))["table_passed"]) == 1


def many(count: int, bad: int) -> dict[str, Any]:
    entry, differs = reports.table(), reports.table(verdict=findings.DIFFERENT)
    late = reports.table(verdict=findings.LAGGING)
    tables = [{**(late if n < bad else entry), "table": f"t{n}"} for n in range(count)]
    return reports.counted(reports.passing(tables=[*tables, differs]))


def test_up_to_a_number_of_tables_each_has_its_lines() -> None:
    found = render(many(metrics.EVERY - 1, 3))
    assert len(found["table_passed"]) == metrics.EVERY and found["tables_not_listed"][0][1] == 0.0


def test_beyond_it_only_what_is_no_pass() -> None:
    found = render(many(metrics.EVERY, 3))
    assert [value for _labels, value in found["table_passed"]] == [0.0] * 4
    assert found["tables_not_listed"][0][1] == metrics.EVERY - 3


def test_the_number_of_series_is_bounded_and_the_gravest_stay() -> None:
    found = render(many(metrics.MOST + 10, metrics.MOST + 10))
    assert len(found["table_passed"]) == metrics.MOST and found["tables_not_listed"][0][1] == 11.0
    assert found["table_verdict"][0][0]["verdict"] == findings.DIFFERENT


def test_a_run_that_could_not_run_leaves_no_verdict_standing() -> None:
    found = parse(metrics.render_failure("ledger", "whole", "connect_refused", 9.0, 5.0))
    base = {"cluster": "ledger", "run": "whole"}
    assert found == {
        "mysql_ha_consistency_could_not_run": [({**base, "code": "connect_refused"}, 1.0)],
        "mysql_ha_consistency_passed": [(base, 0.0)],
        "mysql_ha_consistency_last_run_timestamp_seconds": [(base, 9.0)],
        "mysql_ha_consistency_last_passed_run_timestamp_seconds": [(base, 5.0)],
    }


def test_families_have_the_same_help_in_every_file() -> None:
    """The collector merges the files of several runs, and complains about two helps for one name."""
    helps = re.compile(r"^# HELP (\S+) (.*)$", re.MULTILINE)
    once = dict(helps.findall(metrics.render(reports.rich(), "whole", 1.0)))
    for name, about in helps.findall(metrics.render_failure("other", "recent", "x", 1.0, 1.0)):
        assert once.get(name, about) == about
