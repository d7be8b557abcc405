# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements that must be refused, and statements that people need. MySQL itself is not asked here."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import read_only_sql as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.read_only_sql import problems, tokens
from hypothesis import given
from hypothesis import strategies as st

BAD = [
    # no read
    ("", "no statement"),
    (" -- nothing\n", "no statement"),
    ("/* nothing */ ;", "no statement"),
    ("INSERT INTO t VALUES (1)", "does not begin"),
    ("UPDATE t SET a = 1", "does not begin"),
    ("DELETE FROM t", "does not begin"),
    ("REPLACE INTO t VALUES (1)", "does not begin"),
    ("TRUNCATE t", "does not begin"),
    ("DROP TABLE t", "does not begin"),
    ("CALL p()", "does not begin"),
    ("DO SLEEP(1)", "does not begin"),
    ("SET @a = 1", "variables"),
    ("SHOW TABLES", "does not begin"),
    ("EXPLAIN ANALYZE SELECT 1", "does not begin"),
    ("HANDLER t OPEN", "does not begin"),
    ("LOCK TABLES t READ", "does not begin"),
    ("FLUSH TABLES", "does not begin"),
    ("`select` 1", "does not begin"),
    ("'SELECT 1'", "does not begin"),
    ("WITH c AS (SELECT 1) UPDATE t JOIN c SET a = 1", "UPDATE"),
    ("WITH c AS (SELECT 1) DELETE FROM t", "DELETE"),
    ("WITH c AS (SELECT 1) INSERT INTO t SELECT * FROM c", "INSERT"),
    # more than one
    ("SELECT 1; SELECT 2", "more than one"),
    ("SELECT 1; DROP TABLE t", "more than one"),
    ("SELECT 1;;DELETE FROM t", "more than one"),
    ("SELECT 1 /* ; */ ; DELETE FROM t", "more than one"),
    ("SELECT 'a\\\\'; DELETE FROM t; -- '", "more than one"),
    ("SELECT 'a'''; DELETE FROM t; -- '", "more than one"),
    ('SELECT "a"; DELETE FROM t', "more than one"),
    ("SELECT `a``b`; DELETE FROM t", "more than one"),
    ("SELECT `a\\`; DELETE FROM t", "more than one"),
    ("SELECT 1 --x\n; DELETE FROM t", "more than one"),
    ("SELECT 1 # x\n; DELETE FROM t", "more than one"),
    ("SELECT 1 -- x\r; y\n; DELETE FROM t", "more than one"),
    # writes its result
    ("SELECT 1 INTO OUTFILE '/tmp/x'", "OUTFILE"),
    ("SELECT 1 INTO DUMPFILE '/tmp/x'", "DUMPFILE"),
    ("SELECT 1 INTO/**/OUTFILE '/tmp/x'", "OUTFILE"),
    ("SELECT 1.INTO OUTFILE '/tmp/x'", "INTO"),
    ("SELECT a.into FROM t", "INTO"),
    ("SELECT 1 INTO @a", "variables"),
    ("SELECT 1 INTO a", "INTO"),
    ("SELECT @a := 1", "variables"),
    ("SELECT @@server_id", "variables"),
    ("SELECT `a`@`b`", "variables"),
    # locks
    ("SELECT * FROM t FOR UPDATE", "UPDATE"),
    ("SELECT * FROM t FOR/* x */UPDATE SKIP LOCKED", "UPDATE"),
    ("SELECT * FROM t FOR SHARE", "SHARE"),
    ("SELECT * FROM t FOR -- x\n SHARE NOWAIT", "SHARE"),
    ("SELECT * FROM t for share of t", "SHARE"),
    ("SELECT * FROM t LOCK IN SHARE MODE", "LOCK"),
    ("SELECT * FROM (SELECT * FROM t FOR SHARE) x", "SHARE"),
    ("SELECT share FROM t", "SHARE"),
    ("SELECT * FROM t WHERE id > 1.for share", "SHARE"),
    ("SELECT * FROM t WHERE id > 0xFF.for share", "SHARE"),
    ("SELECT HIGH_PRIORITY * FROM t", "HIGH_PRIORITY"),
    # numbers that end where MySQL ends them, and not where a word would
    ("SELECT id FROM t WHERE id > 1.0for share", "0for"),
    ("SELECT id FROM t WHERE id > 1e0for share", "1e0for"),
    ("SELECT id FROM t WHERE id > 1E-0FOR SHARE", "1E"),
    ("SELECT id FROM t WHERE id > 1.5e+3for share", "5e"),
    ("SELECT id FROM t WHERE id > .5for share nowait", "5for"),
    ("SELECT id FROM t WHERE id > 1.0limit 5", "0limit"),
    ("SELECT id FROM t WHERE id > 0limit 5", "0limit"),
    ("SELECT id FROM t WHERE id > 0x1g", "0x1g"),
    ("SELECT id FROM t WHERE id > 0b2", "0b2"),
    ("SELECT id FROM t WHERE id > 0X1F", "0X1F"),
    ("SELECT id FROM t WHERE id > 1\u017e", "1\u017e"),
    ("SELECT id FROM t WHERE id > 1$", "1$"),
    # of "1.5e--" MySQL makes a minus, and no comment of what follows
    ("SELECT id FROM t WHERE id > 1 1.5e-- 0 FOR SHARE", "5e"),
    ("SELECT id FROM t WHERE id > 1.5e/* x */", "5e"),
    ("SELECT 2fa FROM t", "2fa"),
    ("SELECT t.2fa FROM t", "2fa"),
    # functions that hold, disturb, differ, or that nobody knows
    ("SELECT GET_LOCK('a', 10)", "get_lock()"),
    ("SELECT get_lock ('a', 10)", "get_lock()"),
    ("SELECT GET_LOCK/* x */('a', 10)", "get_lock()"),
    ("SELECT `GET_LOCK`('a', 10)", "get_lock()"),
    ("SELECT RELEASE_ALL_LOCKS()", "release_all_locks()"),
    ("SELECT SLEEP(100)", "sleep()"),
    ("SELECT * FROM t WHERE a = (SELECT SLEEP(100))", "sleep()"),
    ("SELECT 1, sleep(a) AS b", "sleep()"),
    ("SELECT (1), (sleep(1))", "sleep()"),
    ("SELECT BENCHMARK(1000000000, SHA2('a', 256))", "benchmark()"),
    ("SELECT WAIT_FOR_EXECUTED_GTID_SET('', 100)", "wait_for_executed_gtid_set()"),
    ("SELECT SOURCE_POS_WAIT('a', 4)", "source_pos_wait()"),
    ("SELECT LOAD_FILE('/etc/passwd')", "load_file()"),
    ("SELECT app.refund(1)", "stored functions"),
    ("SELECT `app`.`refund`(1)", "stored functions"),
    ("SELECT sys.ps_thread_id(1)", "stored functions"),
    ("SELECT refund(1)", "refund()"),
    ("SELECT `year`(d) FROM t", "year()"),
    ("SELECT RAND()", "rand()"),
    ("SELECT UUID()", "uuid()"),
    ("SELECT SYSDATE()", "sysdate()"),
    ("SELECT CONNECTION_ID()", "connection_id()"),
    ("SELECT LAST_INSERT_ID(5)", "last_insert_id()"),
    ("SELECT JSON_ARRAYAGG(a) FROM t", "json_arrayagg()"),
    ("SELECT ANY_VALUE(a) FROM t", "any_value()"),
    # what can be read in two ways
    ("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "executable comments"),
    ("SELECT 1 /*!80000 FOR UPDATE */", "executable comments"),
    ("SELECT /*+ MAX_EXECUTION_TIME(0) */ 1", "optimizer hints"),
    ("SELECT /*+ SET_VAR(sql_mode='ANSI_QUOTES') */ 1", "optimizer hints"),
    ("SELECT 1 /* x", "does not end"),
    ("SELECT 1 /*/", "does not end"),
    ("SELECT 'a", "does not end"),
    ("SELECT 'a\\'", "does not end"),
    ('SELECT "a', "does not end"),
    ("SELECT `a", "does not end"),
    ("SELECT $$; DROP TABLE t$$", "begins with $"),
    ("SELECT $a$; DROP TABLE t$a$", "begins with $"),
    ("SELECT 1\x00; DROP TABLE t", "control character"),
    ("SELECT 1 --\x01 x\n", "control character"),
    ("SELECT '\x00'", "control character"),
    ("SELECT '\ud800'", "control character"),
    ("SELECT \\N", "unexpected"),
    ("SELECT ?", "unexpected"),
    ("SELECT {d '2026-01-01'}", "unexpected"),
    ("SELECT (1", "parentheses"),
    ("SELECT 1)", "parentheses"),
    ("SELECT 1) UNION (SELECT 2", "parentheses"),
    (f"SELECT '{'x' * room.LONGEST}'", "longer than"),
    # what no two servers need to agree on
    ("SELECT a FROM t LIMIT 5", "LIMIT"),
    ("SELECT a FROM (SELECT a FROM t LIMIT 5) x ORDER BY a", "LIMIT"),
    ("SELECT a, ROW_NUMBER() OVER (ORDER BY a) FROM t LIMIT 5", "LIMIT"),
    ("SELECT GROUP_CONCAT(a) FROM t ORDER BY 1", "GROUP_CONCAT"),
    ("SELECT a FROM t ORDER BY (SELECT GROUP_CONCAT(b) FROM u)", "GROUP_CONCAT"),
    ("SELECT GROUP_CONCAT((SELECT a FROM t ORDER BY a LIMIT 1)) FROM t", "GROUP_CONCAT"),
]


@pytest.mark.parametrize(("sql", "why"), BAD, ids=[repr(sql[:50]) for sql, _why in BAD])
def test_it_is_refused(sql: str, why: str) -> None:
    found = problems(sql, comparable=True)
    assert any(why in each for each in found), found


GOOD = [
    "SELECT 1",
    "select 1;",
    " \n SELECT 1 ; ; -- done",
    "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1 LIMIT 1",
    "((SELECT 1))",
    "TABLE shop.orders",
    "VALUES ROW(1, 'a'), ROW(2, 'b')",
    "WITH RECURSIVE c (n, m) AS (SELECT 1, 1 UNION ALL SELECT n + 1, m FROM c WHERE n < 3), d (x) AS (SELECT 1)"
    " SELECT * FROM c JOIN d",
    "WITH `for` (a) AS (SELECT 1) SELECT COUNT(*) FROM `for`",
    "SELECT DATE(booked_at) AS day, SUM(IF(side = 'debit', amount, 0)) AS debit FROM shop.ledger GROUP BY day",
    "SELECT * FROM (SELECT a, b FROM t) AS x(c, d) JOIN (SELECT 1) y (e) USING (c)",
    "SELECT CAST(a AS DECIMAL(10,2)), CONVERT(a, CHAR(10)), CAST(a AS `x`.`y`) FROM t",
    "SELECT `update`, `delete`, t.`into`, `share` FROM t",
    "SELECT t.share, t. share FROM t",
    "SELECT REPLACE(a, 'b', 'c') FROM t",
    "SELECT SUBSTRING(a FROM 1 FOR 2) FROM t FORCE INDEX FOR ORDER BY (k)",
    "SELECT 'SLEEP(5); DROP TABLE t -- /*! x */', \"INTO OUTFILE\", 'it''s', 'it\\'s' FROM t",
    "SELECT 1 -- INTO OUTFILE; DROP\n + 1 # FOR UPDATE\n /* SLEEP(1); */ + 1",
    "SELECT 5--1",
    "SELECT 'a\\'; DELETE FROM t; -- '",  # a text to its end
    "SELECT a->'$.b', a->>'$.c' FROM t WHERE a LIKE '%x%' AND b <=> NULL AND NOT (c XOR d)",
    "SELECT * FROM JSON_TABLE(d, '$[*]' COLUMNS (id INT PATH '$', NESTED PATH '$.a' COLUMNS (b CHAR(9) PATH '$'))) j",
    "SELECT COUNT(*) FROM t PARTITION (p0, p1) WHERE a IN (1, 2) AND EXISTS (SELECT 1) AND b > ALL (SELECT 1)",
    "SELECT SUM(a) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY c)",
    "SELECT GROUP_CONCAT(a ORDER BY a SEPARATOR ',') FROM t",
    "SELECT a FROM t WHERE booked_at >= NOW() - INTERVAL (1 + 1) DAY ORDER BY id LIMIT 10 OFFSET 5",
    "SELECT x'4D', 0x4D, b'01', N'a', _utf8mb4'ž' COLLATE utf8mb4_bin, DATE '2026-01-01', 1e5, .5, 1.",
    "SELECT 1e10, 1E10, 1.5e-3, 1.5E+3, .5e1, 1.e5, 1e-3-1, 5--1, -1, 007, 0xFF, 0xff, 0b01, x'FF', 1.0+2 FROM t1",
    "SELECT t1.c2, t1.`2fa`, e5, x1, b0, t.5, t.1e5 FROM t1 WHERE a=1",
    "SELECT žluť FROM tabulka",
    "SELECT `a``b` FROM `c`.`d`",
]


@pytest.mark.parametrize("sql", GOOD)
def test_it_is_allowed(sql: str) -> None:
    assert problems(sql, comparable=True) == ()


def test_rows_that_should_not_be_there_may_be_any_ten_of_them() -> None:
    sql = "SELECT GROUP_CONCAT(id) FROM t WHERE amount < 0 LIMIT 10"
    assert problems(sql, comparable=False) == ()
    assert len(problems(sql, comparable=True)) == 2


def test_all_problems_are_told_at_once() -> None:
    found = problems("DELETE FROM t WHERE SLEEP(1) AND GET_LOCK('a', 1) FOR UPDATE; SELECT 1", comparable=True)
    for why in ("more than one", "does not begin", "DELETE", "UPDATE", "sleep()", "get_lock()"):
        assert any(why in each for each in found), (why, found)


def test_texts_comments_and_names_are_cut_where_mysql_cuts_them() -> None:
    cut = [(token.kind, token.text) for token in tokens("a 'x''y\\'z' \"q\" `B``c` --x -- y\n/* z */.5#t")]
    assert cut == [
        *(("word", "a"), ("text", ""), ("text", ""), ("quoted", "b`c")),
        *(("sign", "-"), ("sign", "-"), ("word", "x"), ("sign", "."), ("word", "5")),
    ]


@given(st.text(alphabet="'\"`\\-#/*!;ab \n()", max_size=40))
def test_what_is_behind_an_allowed_beginning_is_found_or_refused(noise: str) -> None:
    """Whatever stands before it: a second statement is never taken for a part of the first."""
    sql = f"SELECT 1 {noise}\n; DROP TABLE t"
    assert problems(sql, comparable=False)


@given(st.sampled_from([sql for sql in GOOD if not sql.rstrip().endswith(("done", "t"))]), st.data())
def test_a_forbidden_word_between_two_tokens_is_found(sql: str, data: st.DataObject) -> None:
    spaces = [place for place, letter in enumerate(sql) if letter == " "]
    if not spaces:
        return
    before = list(tokens(sql))
    place = data.draw(st.sampled_from(spaces))
    spoilt = f"{sql[:place]} OUTFILE {sql[place:]}"
    if len(list(tokens(spoilt))) == len(before):
        return  # it went into a text or a comment
    assert any("OUTFILE" in each for each in problems(spoilt, comparable=True))


# --- each part of the check is needed --------------------------------------------------------------------------------
@pytest.mark.parametrize("part", ["_whole", "_words", "_calls", "_orders"])
def test_without_a_part_something_bad_gets_through(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(room, part, lambda _cut: iter(()))
    assert [sql for sql, _why in BAD if not problems(sql, comparable=True)]
