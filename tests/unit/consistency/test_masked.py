# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers say, without what they quote of rows and statements."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import masked as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.masked import masked
from hypothesis import given
from hypothesis import strategies as st

GTID = "7b389a77-4423-11e6-8e6b-00163ec0a235:10"
EVENT = "Could not execute Write_rows event on table bank.customer; Duplicate entry '%s' for key 'customer.PRIMARY'"
END = ", Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY; the event's source log binlog.000003, end_log_pos 1234"
WORKER = f"Worker 1 failed executing transaction '{GTID}' at source log binlog.000003, end_log_pos 1234; {EVENT}{END}"
ON_QUERY = "Error '%s' on query. Default database: 'bank'. Query: 'INSERT INTO customer VALUES (%s)'"

# As 8.0, 8.4 and 9.7 say it, and what is shown of it.
SAID = (
    (
        "r1: the applier stopped: " + WORKER % "alice@canary" + " (1062)",
        1062,
        f"r1: the applier stopped: Worker 1 failed executing transaction {GTID} at source log binlog.000003,"
        " end_log_pos 1234; Could not execute Write_rows event on table bank.customer; Duplicate entry '...'"
        f"{END} (1062)",
    ),
    (
        "Could not execute Update_rows event on table bank.customer; Can't find record in 'customer', Error_code: 1032;"
        " handler error HA_ERR_KEY_NOT_FOUND; the event's master log binlog.1, end_log_pos 9",
        0,
        "Could not execute Update_rows event on table bank.customer; Can'...', Error_code: 1032;"
        " handler error HA_ERR_KEY_NOT_FOUND; the event's master log binlog.1, end_log_pos 9",
    ),
    (
        "Could not execute Update_rows event on table bank.customer; Lock wait timeout exceeded; try restarting"
        " transaction, Error_code: 1205; handler error HA_ERR_LOCK_WAIT_TIMEOUT; the event's source log b.1,"
        " end_log_pos 9",
        0,
        "",
    ),
    (
        "Worker 0 failed executing transaction 'ANONYMOUS' at source log b.1, end_log_pos 9; "
        + ON_QUERY % ("Duplicate entry 'canary' for key 'PRIMARY'", "1, 'canary'"),
        0,
        "Worker 0 failed executing transaction ANONYMOUS at source log b.1, end_log_pos 9; Error '...'",
    ),
    ("p: Invalid utf8mb4 character string: '\\xFFcanary' (1300)", 1300,
     "p: Invalid utf8mb4 character string: '...' (1300)"),
    ("p: Incorrect string value: 'canary' for column 'c' at row 1 (1366)", 1366,
     "p: Incorrect string value: '...' (1366)"),
    ("p: Table 'bank.customer' doesn't exist (1146)", 1146, ""),
    ("p: Lost connection during query", 0, ""),
    ("p: near 'SELECT 42, \"canary' at line 1 (1064)", 1064, "p: near '...' (1064)"),
    # Cut off where the server has no room for more.
    (ON_QUERY[:-2] % ("x", "1, 'canary', canary, 4711"), 0, "Error '...'"),
    ("p: BIGINT value is out of range in '(canary - 5", 1690, "p: BIGINT value is out of range in '...'"),
    ((EVENT + END) % "canary'; the event's source log canary canary", 0,
     "Could not execute Write_rows event on table bank.customer; Duplicate entry '...'" + END),
    (EVENT % "canary, Error_code: 1\ncanary, Error_code: 2\n", 0,
     "Could not execute Write_rows event on table bank.customer; Duplicate entry '...'"),
)  # fmt: skip


@pytest.mark.parametrize(("message", "errno", "shown"), SAID)
def test_what_is_shown_of_a_message(message: str, errno: int, shown: str) -> None:
    assert masked(message, errno) == (shown or message)
    assert "canary" not in masked(message, errno)


@given(
    st.text("aB0'\"\\ ;,:()\n#@é", min_size=1, max_size=30).map(lambda value: f"canary{value}canary"),
    st.integers(0, 400),
)
def test_no_value_is_shown_wherever_a_message_is_cut_off(value: str, cut: int) -> None:
    for message in (WORKER % value, ON_QUERY % (value, value), f"p: Incorrect string value: '{value}' for column 'c'"):
        for said in (message, message[:cut]):
            assert "canary" not in masked(said)
            assert masked(masked(said)) == masked(said)


def test_mutant_from_the_first_quote_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is cut off has no last one."""
    monkeypatch.setattr(room, "_APPLIERS_END", room.re.compile(r"[^'\"]*\Z"))
    with pytest.raises(AssertionError):
        test_no_value_is_shown_wherever_a_message_is_cut_off()
