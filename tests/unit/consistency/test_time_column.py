# SPDX-License-Identifier: GPL-3.0-or-later
"""By which column the recent rows of a table are found, and when they are not."""

from __future__ import annotations

import calendar
import datetime
import zoneinfo
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.time_column import (
    COMMON,
    Skip,
    TimeColumn,
    blind,
    span,
    time_column,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import SECOND
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from hypothesis import given
from hypothesis import strategies as st

NAMED = Named("bank", "led`ger")


def layout(*times: str, key: bool = True, kind: str = "timestamp") -> Layout:
    return Layout((column("id"), *(column(name, kind) for name in times)), (("id",),) if key else ())


def found(
    of: Layout, *, on_update: tuple[str, ...] = (), indexed: tuple[str, ...] = (), given: str = "", servers: int = 2
) -> Any:
    indexes = [{"name": f"by_{name}", "part": name} for name in indexed]
    rows = [{"name": name} for name in on_update]
    return time_column(NAMED, of, rows, [indexes] * servers, given=given)


@pytest.mark.parametrize(
    ("times", "on_update", "indexed", "given", "wanted"),
    [
        (("changed", "updated_at"), ("changed",), ("changed", "updated_at"), "", "changed"),
        (("changed", "updated_at"), (), ("changed", "updated_at"), "", "updated_at"),
        (("changed", "updated_at"), ("changed",), ("changed", "updated_at"), "Updated_At", "updated_at"),
        (("update_time", "Last_Modify_Date"), (), ("update_time", "last_modify_date"), "", "Last_Modify_Date"),
        (("update_time", "last_modify_date"), (), ("update_time",), "", "update_time"),
        (("one", "two"), ("one", "two"), ("two",), "", "two"),
    ],
)
def test_a_column_is_given_or_found(
    times: tuple[str, ...], on_update: tuple[str, ...], indexed: tuple[str, ...], given: str, wanted: str
) -> None:
    said = found(layout(*times), on_update=on_update, indexed=indexed, given=given)
    assert isinstance(said, TimeColumn) and said.facts.name == wanted and said.index.lower() == f"by_{wanted.lower()}"
    assert said.by_server == (wanted in on_update)


@pytest.mark.parametrize(
    ("of", "more", "code"),
    [
        (layout("updated_at", key=False), {"indexed": ("updated_at",)}, "no_key"),
        (layout("created_at"), {"indexed": ("created_at",)}, "no_time_column"),
        (layout("updated_at", kind="date"), {"indexed": ("updated_at",)}, "no_time_column"),
        (layout("updated_at"), {"indexed": ("updated_at",), "given": "gone"}, "no_time_column"),
        (layout("updated_at"), {"indexed": ("id",)}, "no_index_on_time_column"),
        (layout("updated_at"), {"indexed": ("updated_at",), "servers": 0}, "no_index_on_time_column"),
        # The name counts, not what else there is.
        (layout("updated_at", "other"), {"indexed": ("updated_at",), "given": "other"}, "no_index_on_time_column"),
    ],
)
def test_a_table_that_cannot_be_compared_so_says_why(of: Layout, more: dict[str, Any], code: str) -> None:
    said = found(of, **more)
    assert isinstance(said, Skip) and said.code == code and said.why and said.next_step


def test_the_index_to_add_is_told_as_a_statement() -> None:
    said = found(layout("updated_at"))
    assert "ALTER TABLE `bank`.`led``ger` ADD INDEX (`updated_at`);" in said.next_step


def test_an_index_that_only_one_server_has_is_none() -> None:
    here = [{"name": "by_time", "part": "updated_at"}]
    there = [{"name": "by_time", "part": "id"}, {"name": "other", "part": "updated_at"}]
    assert isinstance(time_column(NAMED, layout("updated_at"), [], [here, there]), Skip)
    said = time_column(NAMED, layout("updated_at"), [], [here, [*there, {"name": "by_time", "part": "updated_at"}]])
    assert isinstance(said, TimeColumn) and said.index == "by_time"


def test_what_it_does_not_see_is_told() -> None:
    assert "deletes" in blind(TimeColumn(column("m", "timestamp"), "i", True))
    assert "NULL" in blind(TimeColumn(column("m", "timestamp", nullable=True), "i", True))
    assert "application" in blind(TimeColumn(column("m", "timestamp"), "i", False))


def test_common_names_are_in_lower_case_and_once() -> None:
    assert len(set(COMMON)) == len(COMMON) and all(name == name.lower() for name in COMMON)


# --- time zones ------------------------------------------------------------------------------------------------------
AUTUMN = calendar.timegm((2026, 10, 25, 1, 0, 0))
"""Central Europe sets its clocks back at this moment, from 03:00 to 02:00."""
ZONE = zoneinfo.ZoneInfo("Europe/Berlin")


def offset(moment: int, zone: zoneinfo.ZoneInfo = ZONE) -> int:
    found = datetime.datetime.fromtimestamp(moment, zone).utcoffset()
    assert found is not None
    return int(found.total_seconds())


@given(
    st.integers(-9000, 9000), st.integers(1, 20000), st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "UTC"])
)
def test_what_the_clock_showed_is_in_the_span(since: int, length: int, name: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    low, high = AUTUMN + since, AUTUMN + since + length
    least, most = span(low * SECOND, high * SECOND, (offset(low, zone), offset(high, zone)))
    for moment in range(low, high, max(1, length // 50)):
        assert least <= (moment + offset(moment, zone)) * SECOND < most


def test_shifting_both_ends_alone_would_leave_nothing() -> None:
    low, high = AUTUMN - 600, AUTUMN + 600
    assert low + offset(low) > high + offset(high)
    least, most = span(low * SECOND, high * SECOND, (offset(low), offset(high)))
    assert most - least == (1200 + 3600) * SECOND
