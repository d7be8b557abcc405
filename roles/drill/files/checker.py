# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's checker: holds what the writer was told against what every server has.

Input: `--config FILE`, a JSON object (mode 0600; times in seconds unless the key says otherwise):

    writer_log              path of the writer's JSON lines, ended or not
    servers                 [{"name", "address", "port"=3306, "role"}, ...]   role: "primary" (exactly one: the
                            server that survived) or "replica" (also an old primary that was brought back)
    output                  path of the JSON document that is written
    user, password          an account with SELECT on lossless_drill.*
    old_primary_uuid=null, new_primary_uuid=null   null: there was none, or nobody knows
    fault_at=null           wall-clock time at which the fault was made
    promoted_at=null        wall-clock time at which the promotion was done
    clock_tolerance_ms=0    how far the clocks of this host and of the one that took `promoted_at` may be apart
    replica_timeout=30      time for replicas to have applied what the primary has
    bin_ms=100              width of the bins of the write rate
    list_limit=100          how many ids a list holds at most (counts are always complete)
    connect_timeout=0.3, handshake_timeout=1, read_timeout=60, tls, tls_ca, tls_verify_identity   see drill_mysql.py

Output: one JSON document. `monotonic` and `wall` are seconds of the writer's host; a *list* is {"count", "ids"}.

    run, log {complete, malformed, ids_logged_twice}, counts {attempts, acknowledged, failed, unknown},
    acknowledged_by_server {uuid: {count, first {id, server_uuid, monotonic, wall}, last {...}}},
    acknowledged_after_fault (null without fault_at), duplicate_acknowledgements (list),
    outage {write_outage_ms, last_before, first_after, largest_gap_ms, largest_gap_started_wall},
    deposed {old_primary_uuid, acknowledged, started_after_new_primary (list or null),
             acknowledged_after_promotion (list or null)},
    rate {bin_ms, origin_monotonic, origin_wall, acknowledged [int], failed [int], unknown [int]},
    no_connection [{writer, attempts, wall, error}] (at most `list_limit`),
    servers [{name, role, server_uuid, version, error, caught_up, rows, lost, present_unknown, absent_unknown,
              phantom, alien, altered, not_on_primary (lists), balances {accounts, mismatches (list)}}]

lost: acknowledged and absent. phantom: logged as failed and present. alien: present and never logged. altered:
present with another account or amount than its id calls for. not_on_primary: present here, absent on the primary.
absent_unknown and present_unknown: the two ways in which an unknown outcome may rightly end.

write_outage_ms: from the last acknowledgement by the old primary before, to the first acknowledgement by the new
primary; null when either is missing.

Exit status: 0 when it did its job, whatever it found; 1 when it could not (the log or the primary cannot be read,
nothing can be written); 2 for a bad configuration. A replica that cannot be read is an `error` in the output.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pymysql
from drill_common import (
    EXIT_BAD_CONFIG,
    EXIT_COULD_NOT,
    EXIT_DONE,
    ConfigError,
    capped,
    config_path,
    entry_of,
    load_config,
    moment,
    positive,
    read_json_lines,
    reject_unknown,
    required,
    run_bounds,
    write_json,
)
from drill_mysql import CONNECTION_KEYS, Access, access_from, discard, error_document, open_session
from pymysql.cursors import SSCursor

KNOWN_KEYS = CONNECTION_KEYS + (
    "writer_log",
    "servers",
    "output",
    "old_primary_uuid",
    "new_primary_uuid",
    "fault_at",
    "promoted_at",
    "clock_tolerance_ms",
    "replica_timeout",
    "bin_ms",
    "list_limit",
)
ACKNOWLEDGED, FAILED, UNKNOWN = OUTCOMES = ("acknowledged", "failed", "unknown")

LEDGER = "SELECT id, account, amount FROM lossless_drill.ledger WHERE id BETWEEN %s AND %s ORDER BY id"
BALANCES = "SELECT id, balance FROM lossless_drill.account WHERE id BETWEEN %s AND %s ORDER BY id"
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


class CheckError(Exception):
    """The check itself cannot be done; nothing is known about the drill."""


# --- the writer's log -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """One line of the log. Times in seconds; monotonic but for `ended_wall`."""

    identifier: int
    outcome: str
    server_uuid: str | None
    started: float
    commit_started: float | None
    ended: float
    ended_wall: float

    def moment(self) -> dict[str, Any]:
        """How the output names one acknowledgement."""
        return {
            "id": self.identifier,
            "server_uuid": self.server_uuid,
            "monotonic": self.ended,
            "wall": self.ended_wall,
        }


@dataclass
class WriterLog:
    """The whole log, outcomes in the order of their end."""

    run: int
    accounts: int
    origin_monotonic: float
    origin_wall: float
    complete: bool = False
    malformed: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    no_connection: list[dict[str, Any]] = field(default_factory=list)

    def acknowledgements(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.outcome == ACKNOWLEDGED]


def read_log(lines: Iterable[dict[str, Any]]) -> WriterLog:
    """Gather the log's lines. Raises CheckError when it has no start line; malformed lines are only counted."""
    lines = iter(lines)  # what comes before the start line is kept, and the rest is read on from there
    log: WriterLog | None = None
    early: list[dict[str, Any]] = []
    for line in lines:
        if line.get("type") == "start":
            log = WriterLog(int(line["run"]), int(line["accounts"]), float(line["monotonic"]), float(line["wall"]))
            break
        early.append(line)
    if log is None:
        raise CheckError("the writer's log has no start line: the writer never began to write")
    for line in [*early, *lines]:
        _gather(log, line)
    log.outcomes.sort(key=lambda outcome: outcome.ended)
    return log


def _gather(log: WriterLog, line: dict[str, Any]) -> None:
    kind = line.get("type")
    if kind == "outcome":
        outcome = _outcome(line)
        if outcome is None:
            log.malformed += 1
        else:
            log.outcomes.append(outcome)
    elif kind == "no_connection":
        log.no_connection.append({key: line.get(key) for key in ("writer", "attempts", "wall", "error")})
    elif kind == "summary":
        log.complete = True
    elif kind != "connected":
        log.malformed += 1


def _outcome(line: dict[str, Any]) -> Outcome | None:
    """None for a line that lacks something: it is counted as malformed, not repaired."""
    try:
        outcome = Outcome(
            identifier=int(line["id"]),
            outcome=str(line["outcome"]),
            server_uuid=line["server_uuid"],
            started=float(line["started"]),
            commit_started=None if line["commit_started"] is None else float(line["commit_started"]),
            ended=float(line["ended"]),
            ended_wall=float(line["ended_wall"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return outcome if outcome.outcome in OUTCOMES else None


def expected_outcomes(outcomes: Iterable[Outcome]) -> tuple[dict[int, str], list[int]]:
    """({id: outcome}, ids acknowledged more than once).

    No id should be logged twice. If one is, an acknowledgement outweighs the rest, for it is a promise, and an
    unknown outweighs a failure, for it promises less.
    """
    weight = {FAILED: 0, UNKNOWN: 1, ACKNOWLEDGED: 2}
    expected: dict[int, str] = {}
    acknowledged: Counter[int] = Counter()
    for outcome in outcomes:
        acknowledged[outcome.identifier] += outcome.outcome == ACKNOWLEDGED
        before = expected.get(outcome.identifier, FAILED)
        expected[outcome.identifier] = max(before, outcome.outcome, key=weight.__getitem__)
    return expected, sorted(identifier for identifier, times in acknowledged.items() if times > 1)


# --- what the log alone tells: pure ---------------------------------------------------------------------------


def by_server(acknowledgements: list[Outcome]) -> dict[str, Any]:
    """Count, first and last acknowledgement of every server."""
    servers: dict[str, Any] = {}
    for outcome in acknowledgements:
        entry = servers.setdefault(str(outcome.server_uuid), {"count": 0, "first": outcome.moment()})
        entry["count"] += 1
        entry["last"] = outcome.moment()
    return servers


def outage(acknowledgements: list[Outcome], old_uuid: str | None, new_uuid: str | None) -> dict[str, Any]:
    """The write outage as the docstring of this program defines it, and the largest gap between any two answers.

    When the old primary's uuid is not known, every server but the new primary counts as old.
    """
    first_after = next((a for a in acknowledgements if new_uuid is not None and a.server_uuid == new_uuid), None)
    last_before = None
    if first_after is not None:
        last_before = next(
            (
                a
                for a in reversed(acknowledgements)
                if a.ended <= first_after.ended and a.server_uuid != new_uuid and old_uuid in (None, a.server_uuid)
            ),
            None,
        )
    known = first_after is not None and last_before is not None
    gap = max(zip(acknowledgements, acknowledgements[1:]), key=lambda pair: pair[1].ended - pair[0].ended, default=None)
    return {
        "write_outage_ms": _milliseconds(last_before, first_after) if known else None,
        "last_before": last_before.moment() if last_before else None,
        "first_after": first_after.moment() if first_after else None,
        "largest_gap_ms": _milliseconds(*gap) if gap else None,
        "largest_gap_started_wall": gap[0].ended_wall if gap else None,
    }


def _milliseconds(first: Outcome | None, second: Outcome | None) -> float | None:
    return round((second.ended - first.ended) * 1000, 1) if first and second else None


def deposed(
    acknowledgements: list[Outcome],
    old_uuid: str | None,
    new_uuid: str | None,
    promoted_at: float | None,
    tolerance_ms: float,
    limit: int,
) -> dict[str, Any]:
    """Acknowledgements that a deposed primary must not have given.

    `started_after_new_primary` compares two moments of one clock: COMMIT was sent to the old primary after the new
    one had acknowledged. `acknowledged_after_promotion` compares this host's wall clock with the one that took
    `promoted_at`. Each is null when it could not be observed.
    """
    old = [a for a in acknowledgements if old_uuid is not None and a.server_uuid == old_uuid]
    first_new = next((a for a in acknowledgements if new_uuid is not None and a.server_uuid == new_uuid), None)
    later = late = None
    if old_uuid is not None and first_new is not None:
        later = capped([a.identifier for a in old if (a.commit_started or a.started) > first_new.ended], limit)
    if old_uuid is not None and promoted_at is not None:
        late = capped([a.identifier for a in old if a.ended_wall > promoted_at + tolerance_ms / 1000], limit)
    return {
        "old_primary_uuid": old_uuid,
        "acknowledged": len(old),
        "started_after_new_primary": later,
        "acknowledged_after_promotion": late,
    }


def write_rate(log: WriterLog, bin_ms: float) -> dict[str, Any]:
    """Outcomes per bin, counted where they ended; bin 0 begins with the log's start line."""

    def bin_of(ended: float) -> int:
        # Rounded to microseconds: a difference of floats must not put 100 ms into the bin before.
        return max(0, int(round((ended - log.origin_monotonic) * 1000, 3) // bin_ms))

    bins = bin_of(max((outcome.ended for outcome in log.outcomes), default=log.origin_monotonic)) + 1
    rate: dict[str, Any] = {outcome: [0] * bins for outcome in OUTCOMES}
    for outcome in log.outcomes:
        rate[outcome.outcome][bin_of(outcome.ended)] += 1
    return {"bin_ms": bin_ms, "origin_monotonic": log.origin_monotonic, "origin_wall": log.origin_wall, **rate}


# --- one server's rows against the log: pure ------------------------------------------------------------------


@dataclass
class Comparison:
    """What a server's rows are, held against the log. Lists of ids, in key order."""

    rows: int = 0
    lost: list[int] = field(default_factory=list)
    present_unknown: list[int] = field(default_factory=list)
    absent_unknown: list[int] = field(default_factory=list)
    phantom: list[int] = field(default_factory=list)
    alien: list[int] = field(default_factory=list)
    altered: list[int] = field(default_factory=list)
    present: set[int] = field(default_factory=set)
    sums: dict[int, Decimal] = field(default_factory=dict)

    LISTS = ("lost", "present_unknown", "absent_unknown", "phantom", "alien", "altered")


def compare(expected: dict[int, str], rows: Iterable[tuple[int, int, Decimal]], accounts: int) -> Comparison:
    """Hold (id, account, amount) rows against {id: outcome}; reads the rows once, in any order."""
    result = Comparison()
    for identifier, account, amount in rows:
        result.rows += 1
        result.present.add(identifier)
        result.sums[account] = result.sums.get(account, Decimal(0)) + amount
        entry = entry_of(identifier, accounts)
        if (entry.account, entry.amount) != (account, amount):
            result.altered.append(identifier)
        outcome = expected.get(identifier)
        if outcome is None:
            result.alien.append(identifier)
        elif outcome == FAILED:
            result.phantom.append(identifier)
        elif outcome == UNKNOWN:
            result.present_unknown.append(identifier)
    for identifier in sorted(expected.keys() - result.present):
        if expected[identifier] == ACKNOWLEDGED:
            result.lost.append(identifier)
        elif expected[identifier] == UNKNOWN:
            result.absent_unknown.append(identifier)
    return result


def compare_balances(sums: dict[int, Decimal], balances: dict[int, Decimal], limit: int) -> dict[str, Any]:
    """The business check: every account's balance is the sum of its ledger rows; an account without rows has 0."""
    wrong = [
        {"account": account, "balance": _money(balances.get(account)), "ledger": _money(sums.get(account, Decimal(0)))}
        for account in sorted(sums.keys() | balances.keys())
        if balances.get(account) != sums.get(account, Decimal(0))
    ]
    return {"accounts": len(balances), "mismatches": capped(wrong, limit)}


def _money(amount: Decimal | None) -> str | None:
    """Decimal as text: a float would round the very thing that is checked."""
    return None if amount is None else str(amount)


# --- reading a server -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One server to read, and what the drill holds it for."""

    name: str
    address: str
    port: int
    role: str


@dataclass(frozen=True)
class Reading:
    """What one server was found to hold, or why it could not be read."""

    server: Server
    server_uuid: str | None = None
    version: str | None = None
    gtid_executed: str = ""
    caught_up: bool | None = None
    comparison: Comparison | None = None
    balances: dict[int, Decimal] = field(default_factory=dict)
    error: dict[str, Any] | None = None

    def document(self, primary: Comparison | None, limit: int) -> dict[str, Any]:
        """The output's entry for this server; lists are null where nothing could be read."""
        found = self.comparison
        lists = {name: capped(getattr(found, name), limit) if found else None for name in Comparison.LISTS}
        extra = capped(sorted(found.present - primary.present), limit) if found and primary else None
        return {
            "name": self.server.name,
            "role": self.server.role,
            "server_uuid": self.server_uuid,
            "version": self.version,
            "error": self.error,
            "caught_up": self.caught_up,
            "rows": found.rows if found else None,
            **lists,
            "not_on_primary": extra,
            "balances": compare_balances(found.sums, self.balances, limit) if found else None,
        }


def read_server(
    server: Server, access: Access, log: WriterLog, expected: dict[int, str], wait_for: str, replica_timeout: float
) -> Reading:
    """Read one server in one snapshot, after it applied the GTID set `wait_for`. Never raises a database error."""
    session = None
    try:
        session = open_session(server.address, server.port, access, autocommit=True)
        with session.cursor() as cursor:
            caught_up = _wait_for(cursor, wait_for, replica_timeout)
            cursor.execute("SELECT @@global.server_uuid, @@global.version, @@global.gtid_executed")
            uuid, version, executed = cursor.fetchone()
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # others ignore SNAPSHOT
            cursor.execute(SNAPSHOT)
        comparison = compare(expected, _stream(session, LEDGER, log.run), log.accounts)
        balances = dict(_stream(session, BALANCES, log.run))
        return Reading(server, uuid, version, executed, caught_up, comparison, balances)
    except (pymysql.err.Error, OSError) as error:
        return Reading(server, error=error_document(error, access))
    finally:
        discard(session)


def _wait_for(cursor: Any, gtid_set: str, timeout: float) -> bool | None:
    """True when the set is applied within `timeout` seconds; None when there is nothing to wait for."""
    if not gtid_set:
        return None
    cursor.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", (gtid_set, timeout))
    return bool(cursor.fetchone()[0] == 0)


def _stream(session: Any, query: str, run: int) -> Iterator[Any]:
    """The rows of one run, fetched as they are consumed: only their ids are kept in this host's memory."""
    with session.cursor(SSCursor) as cursor:
        cursor.execute(query, run_bounds(run))
        yield from cursor.fetchall_unbuffered()


def read_servers(
    servers: list[Server], access: Access, log: WriterLog, expected: dict[int, str], replica_timeout: float
) -> list[Reading]:
    """The primary first, then the replicas once each has what the primary had. Raises CheckError without a primary."""
    primary = next(server for server in servers if server.role == "primary")
    first = read_server(primary, access, log, expected, "", replica_timeout)
    if first.error is not None:
        raise CheckError(f"the primary {primary.name} cannot be read: {first.error['text']}")
    readings = [first]
    for server in servers:
        if server is not primary:
            readings.append(read_server(server, access, log, expected, first.gtid_executed, replica_timeout))
    return readings


# --- the program ----------------------------------------------------------------------------------------------


def servers_from(config: dict[str, Any]) -> list[Server]:
    """The servers of a configuration. Raises ConfigError unless exactly one is the primary."""
    servers = []
    for entry in config["servers"]:
        required(entry, "name", "address", "role")
        if entry["role"] not in ("primary", "replica"):
            raise ConfigError(f"server {entry['name']}: role has to be primary or replica")
        servers.append(Server(str(entry["name"]), str(entry["address"]), int(entry.get("port", 3306)), entry["role"]))
    if sum(server.role == "primary" for server in servers) != 1:
        raise ConfigError("exactly one server has to be the primary")
    return servers


def judge_log(
    log: WriterLog, config: dict[str, Any], expected: dict[int, str], duplicates: list[int], limit: int
) -> dict[str, Any]:
    """The part of the output that needs no server."""
    acknowledgements = log.acknowledgements()
    old_uuid, new_uuid = config.get("old_primary_uuid") or None, config.get("new_primary_uuid") or None
    fault_at = moment(config.get("fault_at"))
    counts = Counter(outcome.outcome for outcome in log.outcomes)
    return {
        "run": log.run,
        "log": {
            "complete": log.complete,
            "malformed": log.malformed,
            "ids_logged_twice": len(log.outcomes) - len(expected),
        },
        "counts": {"attempts": len(log.outcomes), **{outcome: counts[outcome] for outcome in OUTCOMES}},
        "acknowledged_by_server": by_server(acknowledgements),
        "acknowledged_after_fault": None
        if fault_at is None
        else sum(a.ended_wall > fault_at for a in acknowledgements),
        "duplicate_acknowledgements": capped(duplicates, limit),
        "outage": outage(acknowledgements, old_uuid, new_uuid),
        "deposed": deposed(
            acknowledgements,
            old_uuid,
            new_uuid,
            moment(config.get("promoted_at")),
            float(config.get("clock_tolerance_ms", 0)),
            limit,
        ),
        "rate": write_rate(log, positive(config, "bin_ms", 100)),
        "no_connection": log.no_connection[:limit],
    }


def check(config: dict[str, Any]) -> dict[str, Any]:
    """The whole output. Raises ConfigError, CheckError, or OSError when the log cannot be read."""
    reject_unknown(config, KNOWN_KEYS)
    required(config, "writer_log", "servers", "output")
    access, servers = access_from(config, read_timeout=60.0), servers_from(config)
    limit, patience = int(positive(config, "list_limit", 100)), positive(config, "replica_timeout", 30)
    log = read_log(read_json_lines(str(config["writer_log"])))
    expected, duplicates = expected_outcomes(log.outcomes)
    readings = read_servers(servers, access, log, expected, patience)
    primary = readings[0].comparison
    return {
        **judge_log(log, config, expected, duplicates, limit),
        "servers": [reading.document(primary, limit) for reading in readings],
    }


def main() -> int:
    try:
        config = load_config(config_path("Hold the writer's log against what the servers have."))
        write_json(str(config.get("output")), check(config))
    except ConfigError as error:
        print(f"checker: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    except (CheckError, OSError) as error:
        print(f"checker: {error}", file=sys.stderr)
        return EXIT_COULD_NOT
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
