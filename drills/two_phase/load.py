"""What the clients do: tables, and transactions of many kinds, drawn at random. Pure.

Each transaction that commits ends with its client's row in ``progress``: the client's number of that transaction. So
what was acknowledged can be looked for after a crash without knowing what any transaction did.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "lossless_two_phase"
CLIENTS = 8
ACCOUNTS = 400
BULK_ROW = 1 << 20
"""Bytes of one row of ``bulk``."""

TABLES = (
    """CREATE TABLE account (
  id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, owner VARCHAR(40) NOT NULL, balance DECIMAL(18,2) NOT NULL DEFAULT 0,
  version INT UNSIGNED NOT NULL DEFAULT 0, note VARBINARY(200), opened DATETIME(6) NOT NULL DEFAULT NOW(6),
  KEY by_owner (owner), KEY by_balance (balance, version))""",
    """CREATE TABLE entry (
  id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, account INT UNSIGNED NOT NULL, client INT NOT NULL,
  amount DECIMAL(18,2) NOT NULL, made DATETIME(6) NOT NULL DEFAULT NOW(6), about VARCHAR(120) CHARACTER SET latin1,
  KEY by_account (account, made), KEY by_client (client, amount),
  CONSTRAINT of_account FOREIGN KEY (account) REFERENCES account (id) ON DELETE CASCADE)""",
    """CREATE TABLE document (
  id CHAR(16) CHARACTER SET ascii PRIMARY KEY, body MEDIUMTEXT NOT NULL, facts JSON, scan MEDIUMBLOB,
  kind VARCHAR(20) GENERATED ALWAYS AS (facts->>'$.kind') VIRTUAL, size INT GENERATED ALWAYS AS (LENGTH(body)) STORED,
  KEY by_kind (kind), KEY by_size (size), FULLTEXT KEY in_body (body))""",
    "CREATE TABLE bulk (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, body MEDIUMBLOB NOT NULL)",
    "CREATE TABLE progress (client INT PRIMARY KEY, number BIGINT NOT NULL, kind VARCHAR(20) NOT NULL)",
)
PROGRESS = (
    "INSERT INTO progress (client, number, kind) VALUES (%s, %s, %s)"
    " ON DUPLICATE KEY UPDATE number = VALUES(number), kind = VALUES(kind)"
)


@dataclass(frozen=True)
class Step:
    """One statement. ``values``: bound to its placeholders; None: it has none."""

    statement: str
    values: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Transaction:
    """``steps`` without begin and end. ``commits``: False when it is rolled back. ``alone``: the one step commits by
    itself, and what it may fail with is part of the game: DDL on a table that may or may not be there."""

    kind: str
    steps: tuple[Step, ...]
    commits: bool = True
    alone: bool = False


def draw(rng: random.Random, client: int) -> Transaction:
    """The next transaction of a client."""
    kind = rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
    return _KINDS[kind](rng, client)


def accounts() -> Step:
    """The rows that everything begins with."""
    rows = ", ".join(f"('owner {number % 97}', {number * 7}, 0)" for number in range(ACCOUNTS))
    return Step(f"INSERT INTO account (owner, balance, version) VALUES {rows}")


def bulk_row(number: int) -> Step:
    """One row of BULK_ROW bytes."""
    return Step(
        f"INSERT INTO bulk (body) VALUES (REPEAT(UNHEX(SHA2(CONCAT('bulk', %s), 256)), {BULK_ROW // 32}))", (number,)
    )


def alteration(rng: random.Random) -> str:
    """DDL on a table that everybody writes to."""
    return rng.choice(
        (
            "ALTER TABLE entry ADD COLUMN pad INT NOT NULL DEFAULT 7, ALGORITHM=COPY",
            "ALTER TABLE entry DROP COLUMN pad, ALGORITHM=INPLACE",
            "ALTER TABLE entry ADD COLUMN pad INT NOT NULL DEFAULT 9, ALGORITHM=INSTANT",
            "ALTER TABLE entry ADD KEY by_made (made)",
            "ALTER TABLE entry DROP KEY by_made",
            "ALTER TABLE document ADD COLUMN pad VARCHAR(30)",
            "ALTER TABLE document DROP COLUMN pad",
            "ALTER TABLE account ENGINE=InnoDB",
        )
    )


# --- the kinds -------------------------------------------------------------------------------------------------------
def _someone(rng: random.Random) -> int:
    return rng.randrange(1, ACCOUNTS + 1)


def _entry(rng: random.Random, client: int) -> Step:
    amount, about = rng.randrange(-99999, 99999) / 100, rng.choice((None, "", "fee", "größer"))
    return Step(
        "INSERT INTO entry (account, client, amount, about) VALUES (%s, %s, %s, %s)",
        (_someone(rng), client, amount, about),
    )


def _single(rng: random.Random, client: int) -> Transaction:
    return Transaction("single", (_entry(rng, client),))


def _transfer(rng: random.Random, client: int) -> Transaction:
    amount = rng.randrange(1, 9999) / 100
    first, second = sorted((_someone(rng), _someone(rng)))
    change = "UPDATE account SET balance = balance + %s, version = version + 1 WHERE id = %s"
    steps = (Step(change, (amount, first)), Step(change, (-amount, second)), _entry(rng, client), _entry(rng, client))
    return Transaction("transfer", steps)


def _many(rng: random.Random, client: int, rows: int) -> Step:
    return Step(
        "INSERT INTO entry (account, client, amount, about)"
        f" SELECT id, {client}, id / 3, CONCAT('row ', id) FROM account WHERE id >= %s ORDER BY id LIMIT {rows}",
        (rng.randrange(ACCOUNTS),),
    )


def _multi_row(rng: random.Random, client: int) -> Transaction:
    return Transaction("multi_row", (_many(rng, client, rng.randrange(2, 120)),))


def _large(rng: random.Random, client: int) -> Transaction:
    """Some hundred kilobytes: more than a session's cache, so it is copied into the binary log from a file."""
    steps = [_many(rng, client, ACCOUNTS) for _number in range(rng.randrange(2, 5))]
    return Transaction("large", (*steps, _document(rng, 200_000)))


def _update_range(rng: random.Random, client: int) -> Transaction:
    rows = rng.randrange(1, 60)
    statement = f"UPDATE entry SET amount = -amount, about = 'again' WHERE client = %s ORDER BY id DESC LIMIT {rows}"
    return Transaction("update_range", (Step(statement, (client,)),))


def _delete_range(rng: random.Random, client: int) -> Transaction:
    statement = f"DELETE FROM entry WHERE client = %s ORDER BY id LIMIT {rng.randrange(1, 400)}"
    return Transaction("delete_range", (Step(statement, (client,)),))


def _document(rng: random.Random, size: int) -> Step:
    return Step(
        "REPLACE INTO document (id, body, facts, scan) VALUES (%s, REPEAT(%s, %s),"
        " JSON_OBJECT('kind', %s, 'seen', %s), %s)",
        (
            f"d{rng.randrange(300)}",
            rng.choice(("ledger ", "Straße ", "x")),
            size // 7,
            rng.choice(("letter", "invoice")),
            rng.randrange(1000),
            rng.choice((None, rng.randbytes(300))),
        ),
    )


def _documents(rng: random.Random, client: int) -> Transaction:
    change = Step(
        "UPDATE document SET facts = JSON_SET(facts, '$.seen', %s) WHERE kind = %s ORDER BY id LIMIT 3",
        (rng.randrange(1000), "letter"),
    )
    return Transaction("document", (_document(rng, rng.choice((70, 700, 30_000))), change))


def _cascade(rng: random.Random, client: int) -> Transaction:
    """The entries of a deleted account go with it; another one takes its number."""
    one = _someone(rng)
    steps = (
        Step("DELETE FROM account WHERE id = %s", (one,)),
        Step("INSERT INTO account (id, owner, note) VALUES (%s, %s, %s)", (one, f"owner {client}", rng.randbytes(20))),
    )
    return Transaction("cascade", steps)


def _savepoint(rng: random.Random, client: int) -> Transaction:
    steps = (
        _entry(rng, client),
        Step("SAVEPOINT here"),
        _many(rng, client, 20),
        Step("ROLLBACK TO SAVEPOINT here"),
        _entry(rng, client),
    )
    return Transaction("savepoint", steps)


def _rollback(rng: random.Random, client: int) -> Transaction:
    return Transaction("rollback", (_many(rng, client, rng.randrange(1, 200)), _entry(rng, client)), commits=False)


def _ddl(rng: random.Random, client: int) -> Transaction:
    table = f"extra_{client}"
    statement = rng.choice(
        (
            f"CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(50), KEY by_payload (payload))",
            f"CREATE TABLE {table} (PRIMARY KEY (id)) SELECT id, owner AS payload FROM account ORDER BY id LIMIT 50",
            f"ALTER TABLE {table} ADD COLUMN more INT DEFAULT {rng.randrange(9)}",
            f"ALTER TABLE {table} DROP COLUMN more",
            f"INSERT INTO {table} (payload) SELECT owner FROM account LIMIT 30",
            f"RENAME TABLE {table} TO {table}_old",
            f"DROP TABLE {table}_old",
            f"TRUNCATE TABLE {table}",
            f"DROP TABLE {table}",
            f"CREATE OR REPLACE VIEW seen_{client} AS SELECT id, balance FROM account WHERE id > {rng.randrange(90)}",
        )
    )
    return Transaction("ddl", (Step(statement),), alone=True)


_KINDS: Mapping[str, Callable[[random.Random, int], Transaction]] = {
    "single": _single,
    "transfer": _transfer,
    "multi_row": _multi_row,
    "update_range": _update_range,
    "delete_range": _delete_range,
    "document": _documents,
    "cascade": _cascade,
    "savepoint": _savepoint,
    "rollback": _rollback,
    "large": _large,
    "ddl": _ddl,
}
_WEIGHTS: Mapping[str, int] = {
    "single": 40,
    "transfer": 18,
    "multi_row": 7,
    "update_range": 7,
    "delete_range": 9,
    "document": 7,
    "cascade": 2,
    "savepoint": 4,
    "rollback": 4,
    "large": 1,
    "ddl": 2,
}
KINDS = tuple(_KINDS)
