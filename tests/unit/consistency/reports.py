# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports as run.run gives them, whole and realistic; tests (and the page's screenshots) change one thing in them."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import Difference, TableResult

NOW = 1_795_831_205.0
HOSTILE = "<script>alert(1)</script>\"'&\u202e\n\x00\ud800`${x}`"


def table(name: str = "shop.orders", replica: str = "db2", verdict: str = findings.PASS, **more: Any) -> dict[str, Any]:
    schema, _dot, bare = name.partition(".")
    values: dict[str, Any] = {"mode": findings.WHOLE, "rows": 120_000, "seconds": 4.2, **more}
    return TableResult(schema, bare, replica, verdict=verdict, **values).as_result()


DIFFERENCES = (
    Difference(
        {"id": "1000417"},
        findings.VALUE,
        ("amount", "note"),
        {"amount": "1250.00", "note": "Miete M\u00e4rz"},
        {"amount": "1205.00", "note": "Miete Ma\u0308rz "},
        last_writer="8f6a2c1e-7d1a-11f0-9b2e-0242ac110002:48211",
    ),
    Difference(
        {"id": "1000911"},
        findings.MISSING,
        (),
        {
            "id": "1000911",
            "account_id": "17",
            "amount": "88.10",
            "note": None,
            "booked_at": "2026-11-27 21:14:03.120000",
        },
        None,
        last_writer="8f6a2c1e-7d1a-11f0-9b2e-0242ac110002:48377",
    ),
    Difference(
        {"id": "1000912"}, findings.EXTRA, (), None, {"id": "1000912", "account_id": "17", "amount": "", "note": "a\tb"}
    ),
    Difference(
        {"id": "1001300"}, findings.VALUE, ("note",), {"note": "x" * 300 + "paid"}, {"note": "x" * 300 + "open"}
    ),
)


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """The counts and the verdict that belong to what a report lists."""
    verdicts = [entry["verdict"] for key in ("servers", "tables", "assertions") for entry in report[key]]
    report["counts"] = {
        "tables": len({(entry["schema"], entry["table"]) for entry in report["tables"]}),
        "rows": sum(entry["rows"] for entry in report["tables"]),
        "rechecked": sum(entry["rechecked"] for entry in report["tables"]),
        "differences": sum(entry["difference_count"] for entry in report["tables"]),
        "by_verdict": dict(Counter(verdicts)),
    }
    report["verdict"] = findings.worst(verdicts)
    return report


def passing(**changes: Any) -> dict[str, Any]:
    """Two replicas that are the same."""
    report: dict[str, Any] = {
        "cluster": "ledger",
        "primary": "db1",
        "replicas": ["db2", "db3"],
        "modes": [findings.WHOLE, findings.BUSINESS],
        "started_at": NOW,
        "seconds": 192.4,
        "finished": True,
        "servers": [],
        "tables": [table(f"shop.t{n}", replica) for n in range(3) for replica in ("db2", "db3")],
        "assertions": [assertion("no negative balance"), assertion("no negative balance", "db3")],
        "repair": [],
    }
    return {**counted(report), **changes}


def assertion(name: str, replica: str = "db2", verdict: str = findings.PASS, **more: Any) -> dict[str, Any]:
    """As run.run tells it: it takes no time, and has further fields."""
    base = {"severity": "critical", "code": "", "why": "", "rows_primary": 0, "rows_replica": 0, "differences": []}
    base |= {"expect": "zero_rows", "side": "replica", "rounds": 1, "errno": 0, "difference_count": 0}
    return {"name": name, "replica": replica, "verdict": verdict, **base, **more}


def rich() -> dict[str, Any]:
    """One of everything."""
    report = passing(modes=[findings.RECENT_TIME, findings.WHOLE, findings.BUSINESS])
    report["tables"] += [
        table(
            "bank.ledger",
            "db2",
            findings.DIFFERENT,
            code="rows_differ",
            why="140 rows differ",
            next_step="See the differences and the repair plan; clone the replica when in doubt.",
            rows=10_400_000,
            rechecked=1_312,
            difference_count=140,
            differences=DIFFERENCES,
            seconds=101.7,
        ),
        table(
            "bank.session",
            "db2",
            findings.DIFFERENT,
            mode=findings.RECENT_TIME,
            code="rows_differ",
            why="2 rows differ",
            difference_count=2,
            differences=(
                Difference({"branch_code": "BE-01", "number": "12"}, findings.MISSING),
                Difference({"branch_code": "BE-01", "number": "13"}, findings.VALUE, ("state", "closed_at")),
            ),
        ),
        table(
            "bank.audit",
            "db3",
            findings.DIFFERENT,
            code="rows_differ",
            why="1 row without a key is there another number of times",
            difference_count=1,
            differences=(Difference({}, findings.COUNT, (), {"rows": "2"}, {"rows": "3"}),),
        ),
        table(
            "shop.customer",
            "db3",
            findings.SCHEMA_DIFFERS,
            code="column_collation_differs",
            why="the column email has the collation utf8mb4_0900_ai_ci on db1 and utf8mb4_bin on db3",
            next_step="Find out which one is meant; then ALTER TABLE through the primary, or clone db3.",
            rows=0,
            covered=0.0,
        ),
        table(
            "shop.blob",
            "db2",
            findings.ERROR,
            code="sql_error",
            why="Table './shop/blob' is marked as crashed",
            covered=0.0,
        ),
        table(
            "shop.counter",
            "db2",
            findings.UNSTABLE,
            code="rows_restless",
            why="3 rows kept changing faster than they could be compared",
            next_step="Run again when they are written less often, or allow a longer lock.",
        ),
        table(
            "shop.event",
            "db3",
            findings.LAGGING,
            code="replica_late",
            why="it did not catch up within 60 s, 4 times",
            covered=0.41,
        ),
        table(
            "shop.log",
            "db2",
            findings.SKIPPED,
            mode=findings.RECENT_TIME,
            code="time_column_without_index",
            why="no index begins with last_modify_date",
            next_step="ALTER TABLE shop.log ADD INDEX (last_modify_date);",
            covered=0.0,
        ),
        table(
            "shop.archive",
            "db2",
            findings.SKIPPED,
            code="not_finished",
            why="the time for this run is over",
            covered=0.9996,
        ),
    ]
    report["servers"] = [
        {
            "replica": "db3",
            "verdict": findings.DIFFERENT,
            "code": "errant_transactions",
            "why": "db3 has executed 2 transactions that db1 has not: 9d01f2aa-7d1a-11f0-8a11-0242ac110003:1-2",
            "next_step": "Find out who wrote there. The playbook rejoin archives and undoes them.",
        },
        {
            "replica": "db4",
            "verdict": findings.LAGGING,
            "code": "applier_off",
            "why": "the applier of db4 stands still",
            "next_step": "Start it: mysql-ha member start ledger db4.",
        },
    ]
    report["replicas"].append("db4")
    report["assertions"] += [
        assertion(
            "order totals are the sums of their lines",
            "db2",
            findings.DIFFERENT,
            code="assertion_broken",
            why="1 row where there should be none",
            rows_primary=0,
            rows_replica=1,
            differences=[{"kind": "violation", "columns": ["id", "total"], "replica": {"id": "41", "total": "30.31"}}],
        ),
        assertion(
            "orders by state",
            "db3",
            findings.UNSTABLE,
            severity="warning",
            why="the primary's own result kept changing",
        ),
    ]
    report["repair"] = [
        {"table": "", "replica": "db3", "way": "clone", "rows": 0, "sql": [], "why": "It has transactions of its own."},
        {
            "table": "bank.ledger",
            "replica": "db2",
            "way": "rows_by_sql",
            "rows": 3,
            "sql": [
                "START TRANSACTION;",
                "UPDATE `bank`.`ledger` SET `amount` = '1250.00' WHERE `id` = 1000417;",
                "DELETE FROM `bank`.`ledger` WHERE `id` = 1000912;",
                "COMMIT;",
            ],
            "why": "Few rows differ and the table has a key.",
        },
    ]
    report["finished"] = False
    return counted(report)


def hostile() -> dict[str, Any]:
    """Every text of a rich report is what somebody wrote who means no good."""
    return dict(_spoilt(copy.deepcopy(rich()), ""))


def _spoilt(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        keep = key in ("", "tables", "assertions", "servers", "repair", "counts", "by_verdict", "differences")
        return {(name if keep else f"{name}{HOSTILE}"): _spoilt(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_spoilt(each, key) for each in value]
    if isinstance(value, tuple):
        return tuple(_spoilt(each, key) for each in value)
    if isinstance(value, str) and key not in ("verdict", "mode", "kind", "modes"):
        return f"{value}{HOSTILE}"
    return value
