# SPDX-License-Identifier: BSD-2-Clause
"""What a person reads first, the same on the page, in the terminal and in the metrics: who needs somebody, and why.

Everything is pure and takes the mappings of ``desk.py``. A key that is missing is not known, as ``None`` is.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..plain_words import mapping, real, sequence, utc

Fields = Mapping[str, Any]

VERDICTS = ("healthy", "dead", "dead_or_isolated", "controller_cut", "replication_cut", "degraded", "unknown")
ACTIONS = ("none", "waiting", "acting", "held")
OUTCOMES = ("running", "promoted", "refused", "failed", "yielded", "superseded", "would_act")
"""Of recoveries; an operation on a member ends as ``done``, too."""

PERSON, ACTING, NOTICE, QUIET, WELL = "person", "acting", "notice", "quiet", "well"
LEVELS: Mapping[str, str] = {
    PERSON: "needs a person",
    ACTING: "manager at work",
    NOTICE: "look when you can",
    QUIET: "held back on purpose",
    WELL: "well",
}
"""Most urgent first. The first three need attention."""
ATTENTION = (PERSON, ACTING, NOTICE)

_LOST = ("dead", "dead_or_isolated", "replication_cut")
_SAID: Mapping[str, str] = {
    "healthy": "healthy",
    "dead": "primary dead",
    "dead_or_isolated": "primary dead or isolated",
    "controller_cut": "this manager is cut off",
    "replication_cut": "replication cut",
    "degraded": "degraded",
    "unknown": "unknown",
}
_OUTCOMES: Mapping[str, str] = {
    "running": "running now",
    "promoted": "promoted",
    "refused": "refused: nothing promoted",
    "failed": "failed on the way",
    "yielded": "left to another run",
    "superseded": "nothing left to do: another manager ended it",
    "would_act": "dry run: would have acted",
}
_MAINTAINED: Mapping[str, str] = {
    "take_out": "taken out of service",
    "bring_back": "brought back into service",
    "repoint": "pointed at the primary",
    "start": "started",
    "stop": "stopped",
}
OPERATIONS: Mapping[str, str] = {operation.replace("_", "-"): operation for operation in _MAINTAINED}
"""Operations on one member: as a path and the command line call them, and as the desk does."""
NOT_LOOKED_AT_S = 10.0
"""A cluster whose last answer is older than this is shown as such: its verdict may be history."""


@dataclasses.dataclass(frozen=True)
class Look:
    """How urgent a cluster is, and why.

    ``level``: one of LEVELS. ``state``: the verdict in words; ``doing``: what is done about it. ``why``: what makes it
    so besides the verdict's reasons, sentences. ``next_step``: of a recovery that came to nothing. ``commands``: what
    a person may run next.
    """

    level: str
    state: str
    doing: str = ""
    why: tuple[str, ...] = ()
    next_step: str = ""
    commands: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        return f"{self.state}, {self.doing}" if self.doing else self.state

    @property
    def needs_attention(self) -> bool:
        return self.level in ATTENTION


def said(verdict: Any) -> str:
    return _SAID.get(str(verdict), str(verdict or "unknown"))


def outcome_said(outcome: Any) -> str:
    return _OUTCOMES.get(str(outcome), str(outcome or "not known"))


def _somebody_answers(cluster: Fields) -> bool:
    return any(answers(mapping(member)) for member in mapping(cluster.get("members")).values())


def is_maintenance(recovery: Fields) -> bool:
    """Whether this entry of the history is an operation on one member."""
    return recovery.get("trigger") == "maintenance"


def result_said(recovery: Fields) -> str:
    """What came of an entry of the history, in a few words."""
    outcome = str(recovery.get("outcome"))
    if not is_maintenance(recovery):
        return outcome_said(outcome)
    done = _MAINTAINED.get(str(recovery.get("operation")), str(recovery.get("operation")))
    words = {
        "running": f"is being {done}",
        "done": f"{done} already" if recovery.get("changed") is False else done,
        "refused": f"not {done}: refused",
        "failed": f"not {done}: failed on the way",
    }
    return f"{recovery.get('member')} {words.get(outcome, outcome)}"


def asked_for(recovery: Fields) -> str:
    """Why an operation was asked for, and by whom."""
    by, reason = recovery.get("by"), recovery.get("reason")
    return f"{reason} ({by})" if reason else f"asked for by {by}"


def look(name: str, cluster: Fields, now: float) -> Look:
    """One cluster, an entry of ``status()["clusters"]``."""
    verdict, action = str(cluster.get("verdict") or "unknown"), str(cluster.get("action") or "none")
    recovery = mapping(cluster.get("last_recovery"))
    open_recovery = recovery if is_open(recovery) else {}
    stale = age(cluster.get("updated_at"), now)
    old = stale is not None and stale > NOT_LOOKED_AT_S
    silent, loose, out = silent_members(cluster), loose_members(cluster), out_of_service(cluster)
    why: list[str] = []
    if old and stale is not None:
        why.append(f"The manager has not looked at it for {seconds(stale)}: what stands here may be history.")
    if open_recovery:
        why += [recovery_line(open_recovery), *sentences(open_recovery.get("refusal"))]
    level = WELL
    if is_acting(cluster):
        level = ACTING
    elif verdict in _LOST and open_recovery.get("outcome") in ("refused", "failed"):
        level = PERSON  # it will try again, and nothing says that it will fare better
    elif action == "waiting" and verdict != "healthy":
        level = ACTING
    elif verdict in _LOST:
        level = PERSON
    elif verdict == "controller_cut" and cluster.get("heard_by") == [] and _somebody_answers(cluster):
        level = PERSON
        why.append(
            "Nobody that this manager reaches hears the primary: it may be down, and too few answer to replace it."
        )
    elif verdict != "healthy" or old or open_recovery:
        level = NOTICE
    elif is_held(cluster):
        level = QUIET
    elif silent or loose:
        level = NOTICE
    elif out:
        level = QUIET
    if silent and level == NOTICE:
        why.append(f"No answer from {', '.join(silent)}.")
    if loose and level == NOTICE:
        why.append(f"{', '.join(loose)} {'does' if len(loose) == 1 else 'do'} not follow the primary: run site.yml.")
    why += [f"{member} is out of service: {reason}." for member, reason in out.items()]
    n, k = real(cluster.get("n")), real(cluster.get("k"))
    if out and n is not None and k is not None and n - 1 < k:
        why.append(f"Until then a new primary would have {n - 1:g} acknowledgers and wait for {k:g}: no failover.")
    return Look(
        level,
        said(verdict),
        _doing(cluster, verdict, action, level),
        tuple(why),
        str(open_recovery.get("next_step") or ""),
        _commands(name, cluster, open_recovery),
    )


def is_open(recovery: Fields) -> bool:
    """An automatic recovery, ended by this manager, that nobody has acknowledged."""
    return (
        bool(recovery)
        and recovery.get("outcome") not in ("running", "yielded", "superseded")
        and recovery.get("trigger") not in ("switchover", "maintenance")
        and not recovery.get("acknowledged")
    )


def _doing(cluster: Fields, verdict: str, action: str, level: str) -> str:
    if is_acting(cluster):
        under_way = mapping(cluster.get("last_recovery"))
        if is_maintenance(under_way) and under_way.get("outcome") == "running":
            return result_said(under_way)
        planned = mapping(cluster.get("last_recovery")).get("trigger") == "switchover" and action != "acting"
        return "switching over now" if planned else "failing over now"
    if verdict != "healthy":
        if action == "waiting":
            return "not replaced, will try again" if level == PERSON else "waiting to be sure"
        if action == "held":
            return "no action: held"
    words = [word for key, word in (("paused", "paused"), ("maintenance", "in maintenance")) if cluster.get(key)]
    out = ", ".join(out_of_service(cluster))
    return ", ".join([*words, f"{out} out of service"] if out else words)


def for_long(look_at: Look, cluster: Fields, now: float) -> str:
    """The headline with how long the verdict holds: ``primary dead for 95 s, no action: held``."""
    lasted = age(cluster.get("since"), now)
    state = look_at.state if lasted is None else f"{look_at.state} for {seconds(lasted)}"
    return f"{state}, {look_at.doing}" if look_at.doing else state


def _commands(name: str, cluster: Fields, open_recovery: Fields) -> tuple[str, ...]:
    found = []
    if cluster.get("verdict") in _LOST and cluster.get("action") in (None, "none", "held"):
        found.append(f"mysql-ha explain {shlex.quote(name)}")
    if cluster.get("paused"):
        found.append(f"mysql-ha resume {shlex.quote(name)}")
    found += [
        f"mysql-ha member bring-back {shlex.quote(name)} {shlex.quote(member)}" for member in out_of_service(cluster)
    ]
    if open_recovery.get("id") is not None:
        found.append(f"mysql-ha ack {shlex.quote(str(open_recovery['id']))}")
    return tuple(found)


def is_acting(cluster: Fields) -> bool:
    """Whether a failover or a switchover is under way there."""
    return cluster.get("action") == "acting" or mapping(cluster.get("last_recovery")).get("outcome") == "running"


def is_held(cluster: Fields) -> bool:
    """Whether somebody, or a rule, keeps the manager from acting there."""
    return bool(cluster.get("paused") or cluster.get("maintenance") or cluster.get("action") == "held")


def holds(cluster: Fields) -> tuple[str, ...]:
    """Why the manager does not act, when it would. The manager's own sentences where it has some."""
    given = sentences(cluster.get("held_by"))
    if given:
        said_already = sentences(cluster.get("reasons"))
        return tuple(sentence for sentence in given if sentence not in said_already)
    found = []
    paused, window = mapping(cluster.get("paused")), mapping(cluster.get("maintenance"))
    if paused:
        until = paused.get("until")
        end = f" until {utc(until)}" if until is not None else " until resumed"
        found.append(f"Paused by {paused.get('by')}{end}: {paused.get('reason')}.")
    if window:
        found.append(f"Maintenance until {utc(window.get('until'))}: {window.get('reason')}.")
    return tuple(found)


def silent_members(cluster: Fields) -> tuple[str, ...]:
    """Who gives no answer, but for those that were taken out of service: they are expected not to."""
    return tuple(name for name, member in members(cluster) if not answers(member) and not is_out(member))


def is_out(member: Fields) -> bool:
    """Whether a person took it out of service."""
    return bool(member.get("out_of_service"))


def out_of_service(cluster: Fields) -> dict[str, str]:
    """The members that a person took out of service, and why."""
    return {name: str(member.get("out_of_service")) for name, member in members(cluster) if is_out(member)}


def loose_members(cluster: Fields) -> tuple[str, ...]:
    """Who answers, is in service and not attached to the primary: it acknowledges nothing; a failover may need it."""
    primary = cluster.get("primary")
    if not primary:
        return ()
    return tuple(
        name
        for name, member in members(cluster)
        if name != primary and answers(member) and not is_out(member) and link(member, cluster)[0] != "on"
    )


def answers(member: Fields) -> bool:
    return member.get("answer") == "ok"


def members(cluster: Fields) -> tuple[tuple[str, Fields], ...]:
    """The primary first, then the others as they are named."""
    found = [(str(name), mapping(member)) for name, member in mapping(cluster.get("members")).items()]
    primary = cluster.get("primary")
    return tuple(sorted(found, key=lambda entry: (entry[0] != primary, natural(entry[0]))))


def link(member: Fields, cluster: Fields) -> tuple[str, str]:
    """How a replica hangs on its source: ``(on | trying | off | astray | none, words)``.

    A source that answers nobody is known by its server_uuid alone.
    """
    receiver, source, primary = member.get("receiver") or "", member.get("source"), cluster.get("primary")
    if source and primary and source not in (primary, cluster.get("primary_uuid")):
        return "astray", f"follows {source}"
    if receiver == "ON":
        return "on", "attached"
    if receiver == "CONNECTING":
        return "trying", "connecting"
    if receiver == "OFF":
        return "off", "stopped"
    return "none", "no source" if answers(member) else "not known"


def recovery_line(recovery: Fields) -> str:
    """A recovery in one sentence."""
    if is_maintenance(recovery):
        return f"{utc(recovery.get('at'))}: {result_said(recovery)}, {asked_for(recovery)}."
    old, new = recovery.get("old_primary"), recovery.get("new_primary")
    what = {
        "promoted": f"{old} to {new}",
        "running": f"{old} is being replaced",
        "would_act": f"dry run: would have replaced {old}",
        "yielded": f"{old} was left to another run, which holds the lock",
        "superseded": f"nothing left to do about {old}: another manager had made {new} primary",
    }.get(str(recovery.get("outcome")), f"{old} was not replaced: {outcome_said(recovery.get('outcome'))}")
    parts = [f"{utc(recovery.get('at'))}: {what}"]
    if recovery.get("outcome") == "promoted":
        parts += [f"zero loss {recovery['zero_loss']}"] if recovery.get("zero_loss") else []
        parts += [f"outage {milliseconds(recovery['outage_ms'])}"] if recovery.get("outage_ms") is not None else []
    if is_open(recovery):
        parts.append("nobody has acknowledged it")
    return ", ".join(parts) + "."


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    cluster: Fields
    look: Look


def rows(status: Fields, now: float) -> tuple[Row, ...]:
    """All clusters, the most urgent first, then by name."""
    order = list(LEVELS)
    found = []
    for name, entry in mapping(status.get("clusters")).items():
        cluster = mapping(entry)
        found.append(Row(str(name), cluster, look(str(name), cluster, now)))
    return tuple(sorted(found, key=lambda row: (order.index(row.look.level), natural(row.name))))


def count(found: Iterable[Row]) -> dict[str, int]:
    """How many clusters are in each level; every level is there."""
    totals = dict.fromkeys(LEVELS, 0)
    for row in found:
        totals[row.look.level] += 1
    return totals


def summary(found: Sequence[Row]) -> str:
    """The state of everything in one sentence."""
    totals = count(found)
    if not found:
        return "No cluster is watched"
    many = f"{len(found)} clusters"
    if totals[PERSON]:
        return f"{'This cluster needs' if len(found) == 1 else _of(totals[PERSON], many, 'need')} a person"
    if totals[ACTING]:
        return "The manager is at work" if len(found) == 1 else f"The manager is at work on {totals[ACTING]} of {many}"
    if totals[NOTICE]:
        return "Look when you can" if len(found) == 1 else f"{_of(totals[NOTICE], many, 'want')} a look"
    if totals[QUIET]:
        return "Well, and held back" if len(found) == 1 else f"All {many} are well, {totals[QUIET]} held back"
    return "All is well" if len(found) == 1 else f"All {many} are well"


def _of(number: int, many: str, verb: str) -> str:
    return f"{number} of {many} {verb}s" if number == 1 else f"{number} of {many} {verb}"


def title(status: Fields, found: Sequence[Row], now: float) -> str:
    """What stands above everything: the summary, unless nobody knows whether it is still so."""
    return "The manager is late: this may be history" if trouble(status, now) else summary(found)


# --- health of the manager -------------------------------------------------------------------------------------------
def lateness(status: Fields, now: float) -> Optional[float]:
    """Seconds by which the loop is behind; ``None`` when that is not known.

    The manager's own figure is of the last tick that ended. A loop that stands still ends none, so the time since
    anything was updated counts as well.
    """
    manager = mapping(status.get("manager"))
    found = [late for late in (real(manager.get("tick_late_s")),) if late is not None]
    tick = real(manager.get("tick_s")) or 0.0
    updated = [
        at for at in (real(mapping(c).get("updated_at")) for c in mapping(status.get("clusters")).values()) if at
    ]
    if updated:
        found.append(now - max(updated) - tick)
    return max(0.0, *found) if found else None


def late_limit(status: Fields) -> float:
    """How late the loop may be: two ticks, and not less than a second."""
    return max(1.0, 2 * (real(mapping(status.get("manager")).get("tick_s")) or 0.0))


def trouble(status: Fields, now: float) -> str:
    """Why the manager is not well; empty when it is."""
    late, limit = lateness(status, now), late_limit(status)
    if late is None:
        return "no tick has ended yet"
    if late > limit:
        return f"the last tick is {late:.1f} s late, and {limit:.1f} s are allowed"
    return ""


# --- words, numbers, times -------------------------------------------------------------------------------------------
def sentences(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in sequence(value) if entry)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """An order in which db2 comes before db10."""
    return tuple(
        (0, int(part[:18]), part) if part[0] in "0123456789" else (1, 0, part)
        for part in re.findall("[0-9]+|[^0-9]+", name)
    )


def age(moment: Any, now: float) -> Optional[float]:
    """Seconds since then; never below zero, for clocks of two hosts differ."""
    at = real(moment)
    return None if at is None else max(0.0, now - at)


def seconds(duration: Any) -> str:
    """A duration as a person says it: ``0.4 s``, ``95 s``, ``12 min``, ``5 h``, ``3 d``; ``-`` when it is not known."""
    value = real(duration)
    if value is None:
        return "-"
    if abs(value) < 9.95:
        return f"{value:.1f} s"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if abs(value) < limit:
            return f"{int(value / size)} {unit}"
    return f"{int(value / 86400)} d"


def counted(number: Any, noun: str) -> str:
    """``1 cluster``, ``3 clusters``."""
    value = real(number)
    return f"- {noun}s" if value is None else f"{value:.0f} {noun}{'' if value == 1 else 's'}"


def milliseconds(duration: Any) -> str:
    """``74 ms``, ``1.24 s``."""
    value = real(duration)
    if value is None:
        return "-"
    return f"{value:.0f} ms" if abs(value) < 1000 else f"{value / 1000:.2f} s"
