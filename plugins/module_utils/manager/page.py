# SPDX-License-Identifier: BSD-2-Clause
"""The manager's page: all clusters at a glance, one cluster in full. Pure: mappings of ``desk.py`` in, HTML out.

It loads nothing and works without JavaScript; with it, the page renews itself in place and says so when the manager
no longer answers, for an old page that looks alive is worse than none. Every value is escaped where it enters: ``text``
is the only way in. Nothing is told by colour alone: each state has a sign and a word.
"""

from __future__ import annotations

import base64
import hashlib
import html
import string
from typing import Any, Iterable, Mapping, Sequence

from ..plain_words import mapping, real, sequence, utc
from . import glance
from .page_style import SCRIPT, SIGNS, STYLE

HISTORY = 25
"""How many recoveries the overview shows."""
OPENED = 12
"""How many clusters the overview shows in full; the others are one line each."""
REFRESH_S = 5


_PLAIN = frozenset(string.ascii_letters + string.digits + "-._~")


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_OUTCOME_SIGNS: Mapping[str, str] = {
    "running": "acting",
    "promoted": "well",
    "refused": "person",
    "failed": "person",
    "yielded": "quiet",
    "superseded": "quiet",
    "would_act": "quiet",
    "done": "well",
}


# --- the ways in -----------------------------------------------------------------------------------------------------
def text(value: Any) -> str:
    """A value as it may stand between tags and in attributes; a dash for what is not known."""
    return "&ndash;" if value is None or value in ("", "-") else html.escape(str(value), quote=True)


def _since(found: glance.Fields) -> str:
    at = utc(found.get("since"))
    return "" if at == "-" else f'<span class="soft since">since {text(at)}</span>'


def _address(name: str) -> str:
    """Where one cluster's page is: the name percent-encoded, so that nothing of it needs escaping."""
    plain = "".join(chr(b) if chr(b) in _PLAIN else f"%{b:02X}" for b in name.encode("utf-8", "replace"))
    return f"/?cluster={plain}"


def _sign(kind: str) -> str:
    """A sign of SIGNS; the word always stands beside it."""
    return f'<svg class="sign {kind}" aria-hidden="true"><use href="#{kind}"/></svg>'


# --- pages -----------------------------------------------------------------------------------------------------------
def overview(status: glance.Fields, recoveries: Sequence[glance.Fields], now: float, *, find: str = "") -> str:
    """All clusters: those that need a person first and in full, then the others, then the history.

    :param find: show only clusters, and recoveries of clusters, whose name contains it.
    """
    rows = glance.rows(status, now)
    title = glance.title(status, rows, now)
    shown = [row for row in rows if find.lower() in row.name.lower()]
    if find:
        recoveries = [entry for entry in recoveries if find.lower() in str(entry.get("cluster")).lower()]
    body = "".join(
        (
            _head(title, glance.count(rows), status, now),
            _finder(find, len(shown), len(rows)) if find or len(rows) > OPENED else "",
            _levels(shown, now),
            _history(recoveries, now, len(rows) > 1),
        )
    )
    return _whole(title, body, rows)


def cluster(
    name: str,
    status: glance.Fields,
    recoveries: Sequence[glance.Fields],
    explained: glance.Fields,
    now: float,
) -> str:
    """One cluster: what it is, what would happen, what has happened. ``explained``: what ``Desk.explain`` says."""
    found = mapping(mapping(status.get("clusters")).get(name))
    row = glance.Row(name, found, glance.look(name, found, now))
    body = "".join(
        (
            '<nav><a href="/">&larr; All clusters</a></nav>',
            _head("", {}, status, now),
            f'<section class="level">{_card(row, now)}</section>',
            _explained(explained),
            _history(recoveries, now, False),
        )
    )
    return _whole(f"{name}: {row.look.headline}", body, (row,))


def nothing_there(name: str, status: glance.Fields, now: float) -> str:
    body = (
        '<nav><a href="/">&larr; All clusters</a></nav>'
        f"{_head('', {}, status, now)}<h1>No cluster {text(name)}</h1>"
        "<p>No cluster of that name is watched here.</p>"
    )
    return _whole("No such cluster", body, ())


def _whole(title: str, body: str, rows: Sequence[glance.Row]) -> str:
    urgent = sum(row.look.needs_attention for row in rows)
    mark = f"({urgent}) " if urgent else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<noscript><meta http-equiv="refresh" content="{REFRESH_S}"></noscript>'
        f'<link rel="icon" href="data:,"><title>{mark}{text(title)}</title><style>{STYLE}</style></head>'
        f'<body>{SIGNS}<p id="silent" role="alert" hidden></p><main id="page">{body}</main>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _head(summary: str, totals: Mapping[str, int], status: glance.Fields, now: float) -> str:
    """The state of everything, how many clusters are how, and the manager itself."""
    manager = mapping(status.get("manager"))
    late = glance.lateness(status, now)
    trouble = glance.trouble(status, now)
    started = glance.age(manager.get("started_at"), now)
    facts = (
        f"<b>{text(manager.get('host'))}</b>",
        f"version {text(manager.get('version'))}",
        f"up {text(glance.seconds(started))}",
        text(glance.counted(manager.get("clusters"), "cluster")),
        text(glance.counted(manager.get("members"), "member")),
        f"a look every {text(glance.seconds(manager.get('tick_s')))}",
        f"{text(glance.milliseconds(None if late is None else late * 1000))} late",
    )
    chips = "".join(
        f'<li class="{level}{"" if totals[level] else " nil"}">{_sign(level)}<b>{totals[level]}</b> {text(words)}</li>'
        for level, words in glance.LEVELS.items()
        if totals
    )
    notes = ""
    if trouble:
        notes += f'<p class="note person">{_sign("person")}<span><b>Not in time:</b> {text(trouble)}.</span></p>'
    if manager.get("dry_run"):
        notes += (
            f'<p class="note quiet">{_sign("quiet")}<span><b>Dry run:</b> this manager says what it would do, and does '
            "nothing.</span></p>"
        )
    title = f"<h1>{text(summary)}</h1>" if summary else ""
    return (
        f'<header><div class="about"><span>Manager {" &middot; ".join(facts)}</span>'
        f"<span>as of <time>{text(utc(now))}</time></span></div>"
        f"{title}{f'<ul class=totals>{chips}</ul>' if chips else ''}{notes}</header>"
    )


def _finder(find: str, shown: int, total: int) -> str:
    back = f' <span>{shown} of {total}</span> <a href="/">show all</a>' if find else ""
    return (
        f'<form action="/" method="get" role="search"><label for="find">Find a cluster</label> '
        f'<input id="find" name="find" value="{html.escape(find, quote=True)}" autocomplete="off"> '
        f"<button>Find</button>{back}</form>"
    )


# --- clusters --------------------------------------------------------------------------------------------------------
def _levels(rows: Sequence[glance.Row], now: float) -> str:
    """The clusters, level by level. The most urgent are opened, as long as there is room."""
    if not rows:
        return '<p class="empty">No cluster to show.</p>'
    room = OPENED
    parts = []
    few = len(rows) <= OPENED
    for level, words in glance.LEVELS.items():
        inside = [row for row in rows if row.look.level == level]
        if not inside:
            continue
        opened = inside[:room] if few or level in glance.ATTENTION else []
        room -= len(opened)
        cards = "".join(_card(row, now) for row in opened)
        tiles = "".join(_tile(row, now) for row in inside[len(opened) :])
        parts.append(
            f'<section class="level"><h2>{_sign(level)}{text(words.capitalize())} '
            f'<span class="soft">{len(inside)}</span></h2>'
            f"{f'<div class=cards>{cards}</div>' if cards else ''}{f'<ul class=tiles>{tiles}</ul>' if tiles else ''}"
            "</section>"
        )
    return "".join(parts)


def _tile(row: glance.Row, now: float) -> str:
    """One cluster in one small box: its name, its primary, and how many answer."""
    members = glance.members(row.cluster)
    up = sum(glance.answers(member) for _name, member in members)
    told = row.cluster.get("primary") if row.look.level == glance.WELL else row.look.headline
    told_in_full = glance.for_long(row.look, row.cluster, now)
    title = text(f"{row.name}: {told_in_full}; {up} of {len(members)} members answer")
    return (
        f'<li class="{row.look.level}"><a href="{_address(row.name)}" title="{title}">{_sign(row.look.level)}'
        f"<b>{text(row.name)}</b><small><span>{text(told)}</span><span>{up}/{len(members)}</span></small></a></li>"
    )


def _card(row: glance.Row, now: float) -> str:
    """One cluster: verdict, why, what stands in the way, topology, the last recovery."""
    found = row.cluster
    facts = "".join(
        f"<div><dt>{title}</dt><dd>{text(value)}</dd></div>"
        for title, value in (("term", found.get("term")), ("n", found.get("n")), ("k", found.get("k")))
    )
    recovery = mapping(found.get("last_recovery"))
    return (
        f'<article class="card {row.look.level}">'
        f'<header><h3>{_sign(row.look.level)}<a href="{_address(row.name)}">{text(row.name)}</a></h3><dl>{facts}</dl>'
        f"<p><b>{text(glance.for_long(row.look, found, now))}</b> {_since(found)}</p></header>"
        f"{_reasons(row)}{_topology(found)}{_last(recovery, row)}</article>"
    )


def _reasons(row: glance.Row) -> str:
    parts = []
    reasons = glance.sentences(row.cluster.get("reasons")) + row.look.why
    if reasons:
        parts.append(f'<div class="why"><h4>Why</h4>{_list(reasons)}</div>')
    if row.look.next_step:
        parts.append(f'<div class="why"><h4>What to do</h4><p>{text(row.look.next_step)}</p></div>')
    held = glance.holds(row.cluster)
    if held:
        parts.append(f'<div class="why"><h4>What holds the manager back</h4>{_list(held)}</div>')
    commands = row.look.commands
    if commands:
        lines = "".join(f"<li><code>{text(command)}</code></li>" for command in commands)
        parts.append(f'<div class="why"><h4>On the manager\'s host</h4><ul class="plain">{lines}</ul></div>')
    return f'<div class="reasons">{"".join(parts)}</div>' if parts else ""


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def _topology(found: glance.Fields) -> str:
    """The primary on the left, and on its right the others, each on the line by which it hangs."""
    members = glance.members(found)
    primary = found.get("primary")
    if not members:
        return ""
    head = next((member for name, member in members if name == primary), None)
    left = (
        _node(str(primary), head, "primary")
        if head is not None
        else f'<div class="node gone"><b>{text(primary)}</b><small>the primary is not known here</small></div>'
    )
    others = []
    for name, member in members:
        if name == primary:
            continue
        kind, words = glance.link(member, found)
        wire = f'<span class="wire {kind}"><i></i><small>{text(words)}</small></span>'
        others.append(f"<li>{wire}{_node(name, member, 'replica', kind == 'on')}</li>")
    right = f'<ul class="replicas">{"".join(others)}</ul>' if others else '<p class="soft">no replica</p>'
    return f'<div class="topology">{left}{right}</div>'


def _node(name: str, member: glance.Fields, role: str, attached: bool = True) -> str:
    """One server: who, where, what it answered, how far behind."""
    up = glance.answers(member)
    out = glance.is_out(member)
    state = "quiet" if out else "person" if not up else "well" if attached else "notice"
    where = " / ".join(text(part) for part in (member.get("city"), member.get("zone")) if part)
    writable = {True: "writable", False: "read-only"}.get(member.get("writable"), "") if up else ""  # type: ignore[arg-type]
    answer = "" if up else str(member.get("answer") or "no answer").replace("_", " ")
    lag = real(member.get("lag_s"))
    counts = {True: "acknowledger", False: "does not acknowledge"}.get(member.get("acknowledges"), "")  # type: ignore[arg-type]
    kept = "out of service" if out else counts if role != "primary" else ""
    words = [text(word) for word in (answer, writable, kept) if word]
    if lag is not None and role != "primary":
        words.append(f"{text(glance.seconds(lag))} behind")
    told = member.get("out_of_service") or member.get("message")
    message = f'<small class="message">{text(told)}</small>' if told else ""
    return (
        f'<div class="node {role}{"" if up else " gone"}">'
        f"<b>{_sign(state)}{text(name)}</b>"
        f"<small><span>{role if role == 'primary' else ''}</span> {text(member.get('address'))}</small>"
        f"<small>{' &middot; '.join([*([where] if where else []), *words])}</small>{message}</div>"
    )


def _last(recovery: glance.Fields, row: glance.Row) -> str:
    if not recovery:
        return ""
    line = glance.recovery_line(recovery)
    return "" if line in row.look.why else f'<p class="last soft">Last recovery: {text(line)}</p>'


# --- what would happen -----------------------------------------------------------------------------------------------
def _explained(explained: glance.Fields) -> str:
    """The answer to: what would the manager do were the primary to die now?"""
    plan, durability = glance.sentences(explained.get("plan")), glance.sentences(explained.get("durability"))
    obstacles = [mapping(entry) for entry in sequence(explained.get("obstacles"))]
    parts = [f"<h2>Were the primary to die now</h2><p>{text(explained.get('would'))}</p>"]
    if obstacles:
        rows = "".join(
            f"<tr><td>{text(entry.get('message') or entry.get('msg'))} <code>{text(entry.get('code'))}</code></td>"
            f"<td>{text(entry.get('next_step'))}</td></tr>"
            for entry in obstacles
        )
        parts.append(
            f"<h3>{_sign('notice')}What stands in the way</h3><table><thead><tr><th>Obstacle</th>"
            f"<th>What to do</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    if plan:
        parts.append(f"<h3>The plan</h3><ol>{''.join(f'<li>{text(line)}</li>' for line in plan)}</ol>")
    if durability:
        parts.append(f"<h3>What may die</h3>{_list(durability)}")
    return f'<section class="explained">{"".join(parts)}</section>'


# --- history ---------------------------------------------------------------------------------------------------------
def _history(recoveries: Sequence[glance.Fields], now: float, with_cluster: bool) -> str:
    """What was done, newest first."""
    if not recoveries:
        return "<section><h2>History</h2><p class=empty>No recovery and no switchover is recorded.</p></section>"
    rows = "".join(_entry(recovery, now, with_cluster) for recovery in recoveries)
    where = "<th>Cluster</th>" if with_cluster else ""
    return (
        f'<section><h2>History</h2><div class="wide"><table class="history"><thead><tr><th>When</th>{where}'
        "<th>Outcome</th><th>Primary</th><th>Zero loss</th><th class=number>Write outage</th><th>Phases</th>"
        f"<th>Acknowledged</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _entry(recovery: glance.Fields, now: float, with_cluster: bool) -> str:
    outcome = str(recovery.get("outcome"))
    name = recovery.get("cluster")
    where = f'<td><a href="{_address(str(name))}">{text(name)}</a></td>' if with_cluster else ""
    gone = glance.seconds(glance.age(recovery.get("at"), now))
    sign = _sign(_OUTCOME_SIGNS.get(outcome, "notice"))
    cells = (
        f"<td><time>{text(utc(recovery.get('at')))}</time>"
        f"<small>{text(gone)} ago, {text(recovery.get('trigger'))}</small></td>{where}",
        f"<td class=outcome>{sign}<b>{text(glance.result_said(recovery))}</b>{_folded(recovery)}</td>",
        f"<td class=move>{_move(recovery)}</td><td>{text(recovery.get('zero_loss'))}</td>",
        f"<td class=number>{text(glance.milliseconds(recovery.get('outage_ms')))}</td>",
        f"<td>{_phases(recovery)}</td><td>{_acknowledged(recovery)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _move(recovery: glance.Fields) -> str:
    old, new = recovery.get("old_primary"), recovery.get("new_primary")
    term = f"<small>term {text(recovery.get('term'))}</small>" if recovery.get("term") is not None else ""
    return f"{text(old)} &rarr; {text(new)}{term}" if new else f"{text(old)}{term}"


def _acknowledged(recovery: glance.Fields) -> str:
    seen = mapping(recovery.get("acknowledged"))
    if seen:
        return f"{text(seen.get('by'))}<small>{text(utc(seen.get('at')))}</small>"
    if glance.is_open(recovery):
        return f"<b>not yet</b><small><code>mysql-ha ack {text(recovery.get('id'))}</code></small>"
    return "&ndash;"


def _folded(recovery: glance.Fields) -> str:
    """Why, what was refused, what to do, the hooks, the journal."""
    refusal = glance.sentences(recovery.get("refusal"))
    reasons = glance.sentences(recovery.get("reasons"))
    hooks = [mapping(hook) for hook in sequence(recovery.get("hooks"))]
    failed = [hook for hook in hooks if not hook.get("ok")]
    parts = []
    if glance.is_maintenance(recovery):
        parts.append(f"<h4>Asked for</h4><p>{text(glance.asked_for(recovery))}</p>")
        for title, key in (("Done", "plan"), ("What may die", "survives"), ("Notes", "notes")):
            told = glance.sentences(recovery.get(key))
            parts.append(f"<h4>{title}</h4>{_list(told)}" if told else "")
    if recovery.get("verdict") or reasons:
        parts.append(
            f"<h4>Verdict: {text(glance.said(recovery.get('verdict')))}</h4>{_list(reasons) if reasons else ''}"
        )
    if refusal:
        title = "Why it was not done" if glance.is_maintenance(recovery) else "Why nothing was promoted"
        parts.append(f"<h4>{title}</h4>{_list(refusal)}")
    if recovery.get("next_step"):
        parts.append(f"<h4>What to do</h4><p>{text(recovery['next_step'])}</p>")
    if hooks:
        lines = [
            f"{hook.get('when')} {hook.get('name')}: {'ok' if hook.get('ok') else 'failed'} in "
            f"{glance.milliseconds(hook.get('duration_ms'))}" + (f", {hook['message']}" if hook.get("message") else "")
            for hook in hooks
        ]
        parts.append(f"<h4>Hooks</h4>{_list(lines)}")
    marks = [
        f"{word} <code>{text(recovery[key])}</code>"
        for word, key in (("recovery", "id"), ("run", "run_id"), ("journal", "journal"))
        if recovery.get(key)
    ]
    parts.append(f"<p class=soft>{', '.join(marks)}</p>" if marks else "")
    count = f", {len(failed)} hook{'s' if len(failed) > 1 else ''} failed" if failed else ""
    key = text(recovery.get("id"))
    opened = " open" if refusal and glance.is_open(recovery) else ""
    return f'<details data-key="{key}"{opened}><summary>details{count}</summary>{"".join(parts)}</details>'


def _phases(recovery: glance.Fields) -> str:
    """The phases on one line of time, and the longest ones by name."""
    phases = [
        (str(phase.get("name")), start, length)
        for phase in map(mapping, sequence(recovery.get("phases")))
        if (start := real(phase.get("start_ms"))) is not None and (length := real(phase.get("duration_ms"))) is not None
    ]
    if not phases:
        return "&ndash;"
    begin = min(start for _name, start, _length in phases)
    whole = max(max(start + length for _name, start, length in phases) - begin, 1.0)
    bars = "".join(
        f'<rect class="p{number % 2}" x="{(start - begin) / whole * 160:.1f}" y="{number % 2}" height="9" '
        f'width="{max(length / whole * 160, 1.0):.1f}">'
        f"<title>{text(name)}: {glance.milliseconds(length)}, from {glance.milliseconds(start)}</title></rect>"
        for number, (name, start, length) in enumerate(phases)
    )
    longest = sorted(phases, key=lambda phase: -phase[2])[:2]
    told = ", ".join(f"{text(name)} {text(glance.milliseconds(length))}" for name, _start, length in longest)
    return (
        f'<svg class="phases" viewBox="0 0 160 10" role="img" aria-label="{len(phases)} phases">{bars}</svg>'
        f"<small>{text(glance.milliseconds(whole))}: {told}</small>"
    )
