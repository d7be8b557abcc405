# SPDX-License-Identifier: GPL-3.0-or-later
"""InnoDB's names of tables, as a server of 9.7 says them."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_names import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.innodb_names import meant

ODD = Named("odd $\u00e9", "t \u017e#1-x \u6f22")
TABLES = (Named("shop", "orders"), Named("shop", "orders_old"), Named("shop", "Tab"), Named("Shop2", "orders"), ODD)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("shop/orders", Named("shop", "orders")),
        ("shop/orders#p#p0", Named("shop", "orders")),
        ("shop/orders#P#p0#SP#s1", Named("shop", "orders")),
        ("shop/tab#p#p1", Named("shop", "Tab")),
        ("odd@0020@0024@0p/t@0020@4v@00231@002dx@0020@6f22", ODD),
        ("odd@0020@0024@0p/t@0020@4v@00231@002dx@0020@6f22#p#a", ODD),
    ],
)
def test_a_name_stands_for_its_table(name: str, table: Named) -> None:
    assert meant([name], TABLES) == {table}


@pytest.mark.parametrize(
    "name", ["shop/order", "shop/orders2", "shop", "other/orders", "shop/#sql-ib1067-2", "x/FTS_1_A"]
)
def test_and_for_no_other(name: str) -> None:
    assert meant([name], TABLES) == set()


def test_where_a_letter_is_not_known_it_is_rather_one_table_too_many() -> None:
    assert meant(["s/@0p"], [Named("s", "\u00e9"), Named("s", "\u00e8"), Named("s", "ee")]) == {
        Named("s", "\u00e9"),
        Named("s", "\u00e8"),
    }


def test_letters_that_mean_something_in_a_pattern() -> None:
    assert meant(["s/a@002eb"], [Named("s", "a.b"), Named("s", "axb")]) >= {Named("s", "a.b")}
    assert meant(["s/a.b"], [Named("s", "axb")]) == set()
