# SPDX-License-Identifier: BSD-2-Clause
"""Whether a stopped server may be rewound, and to where. Pure.

A transaction that waits for its acknowledgement is prepared in the storage engine and written to the binary log. Crash
recovery commits what is prepared and in the log, and rolls back what is prepared and not in it. So a server that died
with such transactions, and has not been started since, loses exactly those that are cut off the end of its log. That is
done only when everything that is cut

* is known to be nobody's: the successor was promoted with a proof, and semi-sync had not degraded, so no client was
  told OK for what the successor lacks;
* can be rolled back: prepared under an XID, and in the log's last file, for an older file is closed only when no commit
  waits; a statement without an XID, or an XA transaction, has taken effect already;
* is all of the surplus: nothing that the successor lacks stays behind the cut, nothing that it has is cut.

Whether the server was started since is seen by the same facts: mysqld begins a new file whenever it starts, and then
the surplus lies in an earlier one. What these facts can not show, a start that died before it had begun its file, shows
afterwards: a rewound server counts only once it has been compared with its successor (``follow.py``).
"""

from __future__ import annotations

import dataclasses
from typing import Iterator, Mapping, Optional, Union

from ..binlog.tail import Tail
from ..binlog.transactions import Transaction
from ..gtid import GtidSet, union
from ..refusal import Reason, Refusal
from ..server.state import Heartbeat, TermRow
from ..topology.testimony import degraded

DURABLE: Mapping[str, str] = {"sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1"}
"""Two-phase commit is only as good as its fsyncs."""

PROVEN = "proven"
_NAMED = 20
"""Transactions that a reason names."""


@dataclasses.dataclass(frozen=True)
class Remains:
    """What a stopped server left behind.

    :param persisted: what ``mysqld-auto.cnf`` says against the option file, by variable.
    """

    server_uuid: str
    tail: Tail
    persisted: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Successor:
    """The primary of the newest term, and what it knows of the server that returns.

    :param executed: what it has.
    :param before: the last term row that named the returning server as primary; None when none did.
    :param unproven: the first term row after that one whose promotion was not proven; None when all were.
    :param heartbeat: the returning server's last testimony that reached its successor.
    """

    name: str
    server_uuid: str
    term: TermRow
    executed: GtidSet
    before: Optional[TermRow] = None
    heartbeat: Optional[Heartbeat] = None
    unproven: Optional[TermRow] = None


@dataclasses.dataclass(frozen=True)
class Nothing:
    """The log's end holds nothing that the successor lacks."""


@dataclasses.dataclass(frozen=True)
class Rewind:
    """Cut ``path`` at ``offset``: ``surplus`` goes, ``transactions`` of it are whole, the rest is torn."""

    path: str
    offset: int
    surplus: GtidSet
    transactions: tuple[Transaction, ...]
    successor_uuid: str
    term: int


Way = Union[Nothing, Rewind, Refusal]


def surplus(held: GtidSet, executed: GtidSet, successor_uuid: str) -> GtidSet:
    """What a server holds and its successor has not executed, but for what began on the successor: a replica may have
    that before its source has committed it."""
    lacking = held - executed
    return lacking - lacking.of([successor_uuid])


def surplus_of(remains: Remains, successor: Successor) -> GtidSet:
    """The surplus of a stopped server, by its log."""
    tail = remains.tail
    held = tail.previous | union(each.gtid.as_set() for each in tail.transactions if each.gtid)
    return surplus(held, successor.executed, successor.server_uuid)


def plan_rewind(remains: Remains, successor: Successor) -> Way:
    """``Nothing``, the cut, or every reason why it must not be made."""
    extra = surplus_of(remains, successor)
    if not extra:
        return Nothing()
    cut = [each for each in remains.tail.transactions if _is_in(each, extra)]
    reasons = tuple(_reasons(remains, successor, extra, cut))
    if reasons:
        return Refusal(reasons)
    return Rewind(remains.tail.path, cut[0].start, extra, tuple(cut), successor.server_uuid, successor.term.term)


def _is_in(transaction: Transaction, gtids: GtidSet) -> bool:
    return transaction.gtid is None or transaction.gtid.as_set() <= gtids


def _reasons(remains: Remains, successor: Successor, extra: GtidSet, cut: list[Transaction]) -> Iterator[Reason]:
    yield from promised(successor)
    yield from _where(remains, successor, extra, cut)
    yield from _what(cut)
    wrong = {name: value for name, value in remains.persisted.items() if DURABLE.get(name, value) != value}
    if wrong:
        yield Reason(
            "settings_not_durable",
            "persisted settings say that the log and the engine were not synced at each commit: "
            + ", ".join(f"{name}={value}" for name, value in sorted(wrong.items())),
            {"persisted": wrong},
            "RESET PERSIST them (drift); this server has to be cloned.",
        )


def promised(successor: Successor) -> Iterator[Reason]:
    """Everything that leaves it open whether a client was told OK for what the successor lacks; nothing: nobody was.

    Each promotion since counts: a proven one after an unproven one only proves that nothing more was lost.
    """
    row = successor.term if successor.term.proof != PROVEN else successor.unproven
    if row is not None:
        yield Reason(
            "promotion_not_proven",
            f"the promotion of term {row.term} was {row.proof}: clients may have been told OK for what"
            f" {successor.name} lacks",
            {"term": row.term, "proof": row.proof, "reason": row.reason},
            "Look at what was archived: it may be business that only this server has. Then clone it.",
        )
    before, beat = successor.before, successor.heartbeat
    if before is None or beat is None:
        yield Reason(
            "semi_sync_unobserved",
            f"{successor.name} has no testimony of this server's semi-sync",
            {"heartbeat": beat is not None, "term_row": before is not None},
            "This server has to be cloned, once a person has looked at what was archived.",
        )
        return
    wrong = degraded(before, beat)
    if wrong:
        yield Reason(
            "semi_sync_degraded",
            f"before it ended, this server did not wait for {before.k} acknowledgements: {', '.join(wrong)}",
            {"reasons": list(wrong), "no_tx": beat.no_tx, "no_tx_base": before.no_tx_base, "k": before.k},
            "Clients may have been told OK for what was archived: look at it. Then clone this server.",
        )


def _where(remains: Remains, successor: Successor, extra: GtidSet, cut: list[Transaction]) -> Iterator[Reason]:
    """What says that all of the surplus, and nothing else, stands behind the cut."""
    tail = remains.tail
    earlier = tail.previous & extra
    if earlier:
        yield Reason(
            "surplus_in_earlier_file",
            f"{earlier} stand in a file before {tail.path}: mysqld has been started since, and has committed them",
            {"gtids": str(earlier), "file": tail.path},
            "This server has to be cloned.",
        )
    others = extra - extra.of([remains.server_uuid])
    if others:
        yield Reason(
            "surplus_of_another_origin",
            f"{others} did not begin on this server: it has committed them as a replica, or they were made by hand",
            {"gtids": str(others), "server_uuid": remains.server_uuid},
            "This server has to be cloned.",
        )
    if tail.ending.how == "damaged":
        yield Reason(
            "binlog_damaged",
            f"{tail.path}: {tail.ending.why}",
            {"ending": tail.ending.as_result()},
            "Check the disk. This server has to be cloned.",
        )
    if cut:
        after = [each for each in tail.transactions if each.start > cut[0].start and each not in cut]
        if after:
            yield Reason(
                "surplus_not_at_the_end",
                f"{successor.name} has {after[0].gtid}, which stands behind {cut[0].gtid}, which it lacks",
                {"first_lacking": str(cut[0].gtid), "has": [str(each.gtid) for each in after[:_NAMED]]},
                "This server has to be cloned.",
            )


def _what(cut: list[Transaction]) -> Iterator[Reason]:
    """What says that crash recovery rolls all of it back."""
    unknown = [each for each in cut if not each.contents_known]
    if unknown:
        yield Reason(
            "contents_unknown",
            f"{unknown[0].gtid} is compressed, and this Python can not look into it",
            {"gtids": [str(each.gtid) for each in unknown[:_NAMED]]},
            "Python 3.14 can. This server has to be cloned.",
        )
    settled = [each for each in cut if each.contents_known and not _prepared(each)]
    if settled:
        first = settled[0]
        verbs = ", ".join(sorted({statement.verb for statement in first.statements})) or first.ends
        yield Reason(
            "not_only_prepared",
            f"{first.gtid} ({verbs}) is not undone by crash recovery: it has no XID, or is of XA",
            {"gtids": [str(each.gtid) for each in settled[:_NAMED]], "ends": sorted({each.ends for each in settled})},
            "This server has to be cloned.",
        )


def _prepared(transaction: Transaction) -> bool:
    return transaction.gtid is not None and transaction.ends in ("xid", "query") and bool(transaction.xid)
