# SPDX-License-Identifier: BSD-2-Clause
"""What ``mysql-ha`` prints, for a person at a terminal. Pure: mappings of ``desk.py`` in, text out.

Whatever came from elsewhere loses its control characters here: a message of a server must not move the cursor.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Iterator, Sequence

from ..plain_words import mapping, real, sequence, utc
from . import glance

_SIGNS = {glance.PERSON: "x", glance.ACTING: ">", glance.NOTICE: "!", glance.QUIET: "=", glance.WELL: "."}
_COLOURS = {glance.PERSON: "1;31", glance.ACTING: "1;36", glance.NOTICE: "33", glance.QUIET: "35", glance.WELL: "32"}


@dataclasses.dataclass(frozen=True)
class Pen:
    """``colour``: whether the terminal shows it. Signs and words say the same without."""

    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def bold(self, text: str) -> str:
        return self.paint(text, "1")

    def faint(self, text: str) -> str:
        return self.paint(text, "2")

    def level(self, level: str, text: str) -> str:
        return self.paint(text, _COLOURS[level])


def clean(value: Any) -> str:
    """A value on one line, without control characters; ``-`` when it is not known."""
    if value is None or value == "":
        return "-"
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


# --- status ----------------------------------------------------------------------------------------------------------
def status(said: glance.Fields, pen: Pen) -> str:
    """All clusters: those that are not well in full, the others by their names."""
    manager = mapping(said.get("manager"))
    now = real(manager.get("now")) or 0.0
    rows = glance.rows(said, now)
    lines = [pen.bold(glance.title(said, rows, now)), pen.faint(_manager(manager, said, now))]
    trouble = glance.trouble(said, now)
    if trouble:
        lines.append(pen.level(glance.PERSON, f"x Not in time: {trouble}."))
    if manager.get("dry_run"):
        lines.append(pen.level(glance.QUIET, "= Dry run: it says what it would do, and does nothing."))
    for level in (glance.PERSON, glance.ACTING, glance.NOTICE, glance.QUIET):
        for row in rows:
            if row.look.level == level:
                lines += ["", *_row(row, now, pen)]
    well = [row for row in rows if row.look.level == glance.WELL]
    if len(rows) == 1 and well:
        lines += ["", *_row(well[0], now, pen)]
    elif well:
        lines += ["", *_well(well, pen)]
    return _text(lines)


def _manager(manager: glance.Fields, said: glance.Fields, now: float) -> str:
    late = glance.lateness(said, now)
    return ", ".join(
        (
            f"manager {clean(manager.get('version'))} on {clean(manager.get('host'))}",
            f"up {glance.seconds(glance.age(manager.get('started_at'), now))}",
            glance.counted(manager.get("members"), "member"),
            f"a look every {glance.seconds(manager.get('tick_s'))}",
            f"{glance.milliseconds(None if late is None else late * 1000)} late",
        )
    )


def _well(rows: Sequence[glance.Row], pen: Pen) -> Iterator[str]:
    """Those that are well, many on a line."""
    sign = pen.level(glance.WELL, _SIGNS[glance.WELL])
    yield f"{sign} {pen.bold(f'{len(rows)} well')}"
    line = ""
    for row in rows:
        name = clean(row.name)
        if line and len(line) + len(name) > 96:
            yield f"    {line}"
            line = ""
        line += ("  " if line else "") + name
    yield f"    {line}"


def cluster(found: glance.Fields, pen: Pen) -> str:
    """One cluster, as ``/api/clusters/NAME`` answers it."""
    now = real(found.get("now")) or 0.0
    name = str(found.get("name"))
    return _text(_row(glance.Row(name, found, glance.look(name, found, now)), now, pen))


def _row(row: glance.Row, now: float, pen: Pen) -> Iterator[str]:
    found, look = row.cluster, row.look
    yield (
        f"{pen.level(look.level, f'{_SIGNS[look.level]} {clean(row.name)}')}  "
        f"{pen.level(look.level, glance.for_long(look, found, now))}"
        + pen.faint(f"  term {clean(found.get('term'))}  n {clean(found.get('n'))}  k {clean(found.get('k'))}")
    )
    yield from _members(found, pen)
    yield from _told("why", [*glance.sentences(found.get("reasons")), *look.why], pen)
    yield from _told("next", [look.next_step] if look.next_step else [], pen)
    yield from _told("held", glance.holds(found), pen)
    yield from _told("run", look.commands, pen)
    recovery = mapping(found.get("last_recovery"))
    if recovery and glance.recovery_line(recovery) not in look.why:
        yield from _told("last", [glance.recovery_line(recovery)], pen)


def _told(word: str, lines: Iterable[str], pen: Pen) -> Iterator[str]:
    for line in lines:
        yield f"    {pen.faint(f'{word:<5}')}{clean(line)}"
        word = ""


def _members(found: glance.Fields, pen: Pen) -> Iterator[str]:
    """The primary, and below it the others with the line by which each hangs on it."""
    primary = found.get("primary")
    cells = []
    for name, member in glance.members(found):
        up = glance.answers(member)
        first = name == primary
        kind, words = ("", "primary") if first else glance.link(member, found)
        lag = real(member.get("lag_s"))
        state = " ".join(
            part
            for part in (
                {True: "writable", False: "read-only"}.get(member.get("writable"), "") if up else "",  # type: ignore[arg-type]
                f"{glance.seconds(lag)} behind" if lag is not None and not first else "",
                "" if up else str(member.get("answer") or "no answer").replace("_", " "),
                "out of service" if glance.is_out(member) else "",
            )
            if part
        )
        out = glance.is_out(member)
        where = "/".join(str(part) for part in (member.get("city"), member.get("zone")) if part)
        bad = not out and (not up or kind in ("off", "astray"))
        told = str(member.get("out_of_service") or member.get("message") or "")
        cells.append((bad, [clean(name) if first else f"  {clean(name)}", words, state, where, told]))
    widths = [max((len(clean(row[column])) for _bad, row in cells), default=0) for column in range(4)]
    for bad, row in cells:
        line = "  ".join(f"{clean(cell) if cell else '':<{width}}" for cell, width in zip(row, [*widths, 0])).rstrip()
        yield "  " + (pen.level(glance.PERSON, f"x {line}") if bad else f"  {line}")


# --- lists -----------------------------------------------------------------------------------------------------------
def clusters(found: Sequence[glance.Fields], now: float, pen: Pen) -> str:
    """One line for each, as ``/api/clusters`` lists them."""
    rows = [("", "CLUSTER", "STATE", "FOR", "PRIMARY", "UP", "TERM")]
    rows += [
        (
            _SIGNS.get(str(entry.get("level")), "?"),
            clean(entry.get("name")),
            clean(entry.get("headline")),
            glance.seconds(glance.age(entry.get("since"), now)),
            clean(entry.get("primary")),
            f"{clean(entry.get('members_answering'))}/{clean(entry.get('members'))}",
            clean(entry.get("term")),
        )
        for entry in found
    ]
    levels = ["", *(str(entry.get("level")) for entry in found)]
    lines = _columns(rows)
    return _text(
        pen.faint(line) if not level else pen.level(level, line) if level in glance.ATTENTION else line
        for level, line in zip(levels, lines)
    )


def history(found: Sequence[glance.Fields], pen: Pen) -> str:
    """Recoveries, newest first; below each what was refused and what to do."""
    if not found:
        return "No recovery and no switchover is recorded.\n"
    rows = [("WHEN", "ID", "CLUSTER", "OUTCOME", "PRIMARY", "ZERO LOSS", "OUTAGE", "ACKNOWLEDGED")]
    rows += [
        (
            utc(entry.get("at")),
            clean(entry.get("id")),
            clean(entry.get("cluster")),
            clean(glance.result_said(entry)),
            _move(entry),
            clean(entry.get("zero_loss")),
            glance.milliseconds(entry.get("outage_ms")),
            _seen(entry),
        )
        for entry in found
    ]
    lines = _columns(rows)
    out = [pen.faint(lines[0])]
    for entry, line in zip(found, lines[1:]):
        bad = entry.get("outcome") in ("refused", "failed") and glance.is_open(entry)
        out.append(pen.level(glance.PERSON, line) if bad else line)
        if glance.is_maintenance(entry):
            out += _told("for", [glance.asked_for(entry)], pen)
        out += _told("why", glance.sentences(entry.get("refusal")), pen)
        out += _told("next", [str(entry["next_step"])] if entry.get("next_step") else [], pen)
    return _text(out)


def _move(entry: glance.Fields) -> str:
    old, new = clean(entry.get("old_primary")), entry.get("new_primary")
    return f"{old} -> {clean(new)}" if new else old


def _seen(entry: glance.Fields) -> str:
    seen = mapping(entry.get("acknowledged"))
    return clean(seen.get("by")) if seen else "not yet" if glance.is_open(entry) else "-"


def recovery(entry: glance.Fields, pen: Pen) -> str:
    """One recovery in full: how a switchover went."""
    lines = [pen.bold(f"{clean(entry.get('cluster'))}: {clean(glance.recovery_line(entry))}")]
    lines += _told("run", [f"{entry['run_id']}, recovery {entry.get('id')}"] if entry.get("run_id") else [], pen)
    phases = [
        f"{phase.get('name')} {glance.milliseconds(phase.get('duration_ms'))}"
        for phase in map(mapping, sequence(entry.get("phases")))
    ]
    lines += _told("took", [", ".join(phases)] if phases else [], pen)
    hooks = [mapping(hook) for hook in sequence(entry.get("hooks"))]
    lines += _told("hook", [f"{h.get('name')} failed: {h.get('message')}" for h in hooks if not h.get("ok")], pen)
    return _text(lines)


def maintained(entry: glance.Fields, pen: Pen) -> str:
    """An operation on one member: what came of it, what was done, and what is survived now where n may have changed."""
    lines = [pen.bold(f"{clean(entry.get('cluster'))}: {clean(glance.result_said(entry))}")]
    lines += _told("for", [glance.asked_for(entry)], pen)
    lines += _told("did", glance.sentences(entry.get("plan")), pen)
    if entry.get("operation") in ("take_out", "bring_back"):
        lines += _told("now", glance.sentences(entry.get("survives")), pen)
    lines += _told("note", glance.sentences(entry.get("notes")), pen)
    return _text(lines)


def explained(said: glance.Fields, pen: Pen) -> str:
    """What would happen were the primary to die now."""
    lines = [
        pen.bold(f"{clean(said.get('cluster'))}: {glance.said(said.get('verdict'))}"),
        *_told("why", glance.sentences(said.get("reasons")), pen),
        "",
        pen.bold("Were the primary to die now"),
        f"    {clean(said.get('would'))}",
    ]
    for number, step in enumerate(glance.sentences(said.get("plan")), 1):
        lines.append(f"    {number}. {clean(step)}")
    obstacles = [mapping(entry) for entry in sequence(said.get("obstacles"))]
    if obstacles:
        lines += ["", pen.bold("What stands in the way")]
    for entry in obstacles:
        lines.append(pen.level(glance.NOTICE, f"  ! {clean(entry.get('message'))}") + f" [{clean(entry.get('code'))}]")
        lines += _told("next", [str(entry["next_step"])] if entry.get("next_step") else [], pen)
    durability = glance.sentences(said.get("durability"))
    if durability:
        lines += ["", pen.bold("What may die"), *(f"    {clean(line)}" for line in durability)]
    return _text(lines)


def error(code: str, message: str, reasons: Sequence[Any], next_step: str, pen: Pen) -> str:
    """An error or a refusal: all its reasons, and what to do."""
    more = [mapping(reason) for reason in reasons]
    if len(more) > 1:
        message = f"refused, for {len(more)} reasons"
    lines = [pen.level(glance.PERSON, f"x {clean(message)}") + f" [{clean(code)}]"]
    if len(more) > 1:
        lines += _told("why", [f"{reason.get('message')} [{reason.get('code')}]" for reason in more], pen)
    lines += _told("next", [next_step] if next_step else [], pen)
    return _text(lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
