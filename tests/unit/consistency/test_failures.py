# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error says of a table, inside of a snapshot and outside."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.failures import CHANGED, said_of
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Unfit
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column


def failed(errno: int) -> StatementFailed:
    return StatementFailed("sql_error", "it said no", errno=errno, next_step="look")


# As 9.7 answers a SELECT of what was changed since a snapshot was opened: DROP DATABASE; DROP or RENAME COLUMN;
# DROP TABLE; TRUNCATE, or another ALTER.
@pytest.mark.parametrize("errno", [1049, 1054, 1146, 1412])
def test_what_was_changed_since_a_snapshot_was_opened(errno: int) -> None:
    assert said_of(failed(errno), exact=True) == CHANGED
    assert said_of(failed(errno), exact=False) == ("error", "sql_error", "it said no", "look")


@pytest.mark.parametrize("error", [failed(1142), failed(0), HaError("sql_error", "it said no", next_step="look")])
def test_another_error_is_an_error_there_as_well(error: HaError) -> None:
    assert said_of(error, exact=True) == ("error", "sql_error", "it said no", "look")


def test_what_a_server_quotes_of_a_row_is_not_told() -> None:
    """Reading a table with a key that is no text quotes the key."""
    said = StatementFailed("sql_error", "r1: Invalid utf8mb4 character string: '\\xFFcanary' (1300)", errno=1300)
    for exact in (True, False):
        assert said_of(said, exact=exact).why == "r1: Invalid utf8mb4 character string: '...' (1300)"
    gone = StatementFailed("sql_error", "r1: Table 'bank.customer' doesn't exist (1146)", errno=1146)
    assert said_of(gone, exact=False).why == gone.message


def test_what_we_have_a_server_quote_is_told() -> None:
    quoted = "'larger than max_allowed_packet'"
    assert f"BIN_TO_UUID({quoted})" in canonical.digest([column("c")])
    text = f"r1: Incorrect string value: {quoted} for function bin_to_uuid (1411)"
    ours = StatementFailed("sql_error", text, errno=1411)
    assert said_of(ours, exact=True).why == ours.message
    theirs = StatementFailed("sql_error", "r1: 'larger than max_allowed_packet' (1300)", errno=1300)
    assert said_of(theirs, exact=True).why == "r1: '...' (1300)"


def test_rows_that_can_not_be_read() -> None:
    said = said_of(Unfit("two rows have the same key"), exact=False)
    assert (said.verdict, said.code, said.why) == ("error", "rows_unreadable", "two rows have the same key")
