# SPDX-License-Identifier: BSD-2-Clause
"""A comparison's page: the report of ``run.run`` in, one self-contained HTML page out. Pure.

It loads nothing and runs nothing. Every value is escaped where it enters: ``text`` is the only way in. Nothing is told
by colour alone: each verdict has a sign and a word. What a reader would not see in a value (a trailing space, a control
character, a letter that only looks like another) is made visible, for exactly that may be the difference.
"""

from __future__ import annotations

import html
from typing import Any, Iterable, Sequence

from ..plain_words import mapping, real, sequence, utc
from . import findings, report_words
from .findings import COUNT, EXTRA, GRAVITY, MISSING, PASS, VALUE
from .report_style import SIGNS, STYLE, TONES
from .report_words import ASSERTION, LABELS, MODES, SERVER, Fields, Finding, counted

OPENED = 40
"""Findings that are shown in full; the others are one line each."""
LINES = 1000
"""Findings that are shown in one line each."""
ROWS = 100
"""Differences that are shown of one finding."""
COLUMNS = 12
"""Columns that are shown of a whole row; the others are folded away."""
LONG = 160
"""Characters of a value that are shown, around where it differs."""
BEFORE = 24
STATEMENTS = 200
PASSES = 500

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Were anything to get past ``text``, it would not run, and nothing would be loaded."""

_KINDS = {
    MISSING: "missing on {replica}",
    EXTRA: "only on {replica}",
    VALUE: "another value",
    COUNT: "another number of equal rows",
    # Of assertions.
    "columns": "other columns",
    "violation": "must not exist",
}


# --- the ways in -----------------------------------------------------------------------------------------------------
def text(value: Any) -> str:
    """A value as it may stand between tags and in attributes; a dash for what is not known."""
    if value is None or value in ("", "-"):
        return "&ndash;"
    return html.escape("".join(map(_sound, str(value))), quote=True)


def _sound(character: str) -> str:
    """What would turn the reading direction, end a line or not be there at all is written as its code."""
    return report_words.escape(character) if report_words.hidden(character) else character


def _sign(verdict: str) -> str:
    """A sign of SIGNS; the word always stands beside it."""
    kind = verdict if verdict in TONES else findings.ERROR
    return f'<svg class="sign {_tone(verdict)}" aria-hidden="true"><use href="#{kind}"/></svg>'


def _tone(verdict: str) -> str:
    return TONES.get(verdict, TONES[findings.ERROR])


def _word(verdict: str) -> str:
    return f'<span class="word {_tone(verdict)}">{_sign(verdict)} {text(LABELS.get(verdict, verdict))}</span>'


# --- the page --------------------------------------------------------------------------------------------------------
def render(report: Fields) -> str:
    """The whole page for a report as ``run.run`` gives it."""
    every = report_words.found(report)
    grave = [each for each in every if _is_grave(each)]
    unmade = [each for each in every if not _is_grave(each)]
    broken = any(each.about == ASSERTION and each.counts for each in grave)
    body = "".join(
        (
            _head(report),
            _numbers(report),
            _grave(grave, report),
            _assertions(report) if broken else "",
            _unmade(unmade),
            "" if broken else _assertions(report),
            _repair(report),
            _passes(report),
            _seen(report),
            _footer(report),
        )
    )
    verdict = str(report.get("verdict"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<link rel="icon" href="data:,"><title>{text(LABELS.get(verdict, verdict))}: {text(report.get("cluster"))}'
        f"</title><style>{STYLE}</style></head><body>{SIGNS}<main>{body}</main></body></html>\n"
    )


def _is_grave(finding: Finding) -> bool:
    return report_words.gravity(finding.verdict) >= report_words.gravity(findings.ERROR)


def _head(report: Fields) -> str:
    verdict = str(report.get("verdict"))
    ended = verdict if verdict != PASS or report_words.passed(report) else findings.SKIPPED
    replicas = ", ".join(f"<b>{text(name)}</b>" for name in sequence(report.get("replicas")))
    modes = ", ".join(text(MODES[m].title if m in MODES else m) for m in sequence(report.get("modes")))
    advice = report_words.advice(report)
    what = f"<p><b>Now:</b> {text(advice)}</p>" if advice else ""
    return (
        '<div class="about">'
        f"<span>Cluster <b>{text(report.get('cluster'))}</b>: primary <b>{text(report.get('primary'))}</b> with "
        f"{replicas or 'no replica'}; {modes or 'no mode'}</span>"
        f"<span><time>{text(utc(report.get('started_at')))}</time>, took "
        f"{text(report_words.duration(report.get('seconds')))}</span></div>"
        f'<header class="verdict {_tone(ended)}">{_sign(ended)}<div>{_plain_word(ended)}'
        f"<h1>{text(report_words.headline(report))}</h1></div>{what}{_unfinished(report)}</header>"
    )


def _plain_word(verdict: str) -> str:
    said = "Pass" if verdict == PASS else f"Not a pass: {LABELS.get(verdict, verdict)}"
    return f'<span class="word {_tone(verdict)}">{text(said)}</span>'


def _unfinished(report: Fields) -> str:
    if report.get("finished") is True:
        return ""
    return "<p><b>This run did not come to its end.</b> What it covered is below; the next one goes on from there.</p>"


def _numbers(report: Fields) -> str:
    counts = mapping(report.get("counts"))
    tables = report_words.entries(report, "tables")
    full = sum((real(entry.get("covered")) or 0) >= 1 for entry in tables)
    cells = "".join(
        f"<div><dt>{title}</dt><dd>{value}</dd></div>"
        for title, value in (
            ("Differences", _number(counts.get("differences"))),
            ("Rows compared", _number(counts.get("rows"))),
            ("Looked at again", _number(counts.get("rechecked"))),
            ("Tables", _number(counts.get("tables"))),
            ("Covered in full", f"{_number(full)} of {_number(len(tables))}"),
            ("Assertions", _number(len(sequence(report.get("assertions"))))),
        )
    )
    by_verdict = mapping(counts.get("by_verdict"))
    chips = "".join(
        f'<li class="{_tone(verdict)}{"" if by_verdict.get(verdict) else " nil"}">{_sign(verdict)}'
        f'<b>{_number(by_verdict.get(verdict, 0))}</b> <span class="text">{text(LABELS[verdict])}</span></li>'
        for verdict in reversed(GRAVITY)
        if by_verdict
    )
    return f'<dl class="numbers">{cells}</dl>{f"<ul class=chips>{chips}</ul>" if chips else ""}'


def _number(value: Any) -> str:
    number = real(value)
    return text(None) if number is None else f"{number:,.0f}".replace(",", "&#8239;")


# --- what is wrong ---------------------------------------------------------------------------------------------------
def _grave(every: Sequence[Finding], report: Fields) -> str:
    every = [each for each in every if each.about != ASSERTION]
    if not every:
        return ""
    cards = "".join(_card(each, report) for each in every[:OPENED])
    rest = every[OPENED:]
    more = f"<p>And {text(counted(len(rest), 'finding'))} more:</p>{_lines(rest)}" if rest else ""
    return f'<section><h2>What is wrong <span class="soft">{len(every)}</span></h2>{cards}{more}</section>'


def _card(finding: Finding, report: Fields) -> str:
    title = f"Server {text(finding.on)}" if finding.about == SERVER else text(finding.name)
    where = (
        ""
        if finding.about == SERVER
        else f' <span class="on">on {text(finding.on)}, {text(_mode(finding.mode))}</span>'
    )
    code = f" <code>{text(finding.code)}</code>" if finding.code else ""
    why = f'<p class="why">{text(report_words.reason(finding))}{code}</p>' if finding.why or finding.code else ""
    return (
        f'<article class="card {_tone(finding.verdict)}">'
        f"<header><h3>{title}{where}</h3>{_word(finding.verdict)}</header>"
        f"{why}{_next(finding)}{_differences(finding, str(report.get('primary')))}</article>"
    )


def _mode(mode: str) -> str:
    return MODES[mode].title if mode in MODES else mode


def _next(finding: Finding) -> str:
    return f'<p class="next"><b>Next:</b> {text(finding.next_step)}</p>' if finding.next_step else ""


def _differences(finding: Finding, primary: str) -> str:
    every = report_words.entries(finding.entry, "differences")
    if not every:
        return ""
    shown = every[:ROWS]
    revealed = any(entry.get("primary") is not None or entry.get("replica") is not None for entry in shown)
    written = any(entry.get("last_writer") for entry in shown)
    heads = ["Key" if any(mapping(entry.get("key")) for entry in shown) else "Row", "What", "Column"]
    heads += [f"On {primary} (primary)", f"On {finding.on}"] if revealed else []
    heads += ["Last written by"] if written else []
    rows = "".join(_difference(entry, finding.on, revealed, written) for entry in shown)
    count = max(finding.differences, len(every))
    notes = []
    if count > len(shown):
        notes.append(f"Shown are the first {len(shown)} of {counted(count, 'difference')}.")
    if not revealed:
        notes.append("Values are not shown: this run was not allowed to reveal them.")
    note = f"<p><small>{text(' '.join(notes))}</small></p>" if notes else ""
    head = "".join(f"<th>{text(title)}</th>" for title in heads)
    return f'<div class="wide"><table class="images"><thead><tr>{head}</tr></thead>{rows}</table></div>{note}'


def _difference(entry: Fields, replica: str, revealed: bool, written: bool) -> str:
    """One row that differs, as lines of a table: one for each column of which both sides have a value."""
    kind = str(entry.get("kind"))
    said = _KINDS.get(kind, kind).replace("{replica}", replica)
    lines = _images(entry, kind) if revealed else [("", *_columns(entry))]
    span = f' rowspan="{len(lines)}"' if len(lines) > 1 else ""
    before = f'<td class="key"{span}>{_key(entry)}</td><td class="kind"{span}>{text(said)}</td>'
    after = f"<td{span}><code>{text(entry.get('last_writer'))}</code></td>" if written else ""
    rows = []
    for number, (column, *cells) in enumerate(lines):
        first, last = (before, after) if number == 0 else ("", "")
        sides = "".join(f'<td class="side">{cell}</td>' for cell in cells) if revealed else ""
        rows.append(f"<tr>{first}<td>{column if revealed else cells[0]}</td>{sides}{last}</tr>")
    return f"<tbody>{''.join(rows)}</tbody>"


def _columns(entry: Fields) -> tuple[str]:
    names = [f"<code>{text(name)}</code>" for name in sequence(entry.get("columns"))]
    return (", ".join(names) or text(None),)


def _key(entry: Fields) -> str:
    key = mapping(entry.get("key"))
    if not key:
        return '<span class="absent">no key</span>'
    return "".join(_pair(name, value) for name, value in key.items())


def _pair(name: Any, value: Any) -> str:
    return f'<span class="pair"><span>{text(name)}</span>{_value(value)}</span>'


def _images(entry: Fields, kind: str) -> list[tuple[str, ...]]:
    """(column, primary's cell, replica's cell) of each line."""
    there, here = entry.get("primary"), entry.get("replica")
    if isinstance(there, dict) and isinstance(here, dict):
        names = [
            name for name in {**there, **here} if name not in there or name not in here or there[name] != here[name]
        ]
        pairs = [_both(there, here, name) for name in names or [*there]]
        return [(f"<code>{text(name)}</code>", *pair) for name, pair in zip(names or [*there], pairs)]
    gone = '<span class="absent">no such row</span>'
    hidden = '<span class="absent">not shown</span>'
    ours = _image(there) if there is not None else gone if kind == EXTRA else hidden
    theirs = _image(here) if here is not None else gone if kind == MISSING else hidden
    return [("", ours, theirs)]


def _both(there: Fields, here: Fields, name: str) -> tuple[str, str]:
    lacking = '<span class="absent">no such column</span>'
    if name not in there or name not in here:
        return (
            _value(there[name]) if name in there else lacking,
            _value(here[name]) if name in here else lacking,
        )
    return _value(there[name], here[name]), _value(here[name], there[name])


def _image(row: Any) -> str:
    """A whole row; what is no row (the digest of one) as it is."""
    if not isinstance(row, dict):
        return _value(row)
    pairs = [_pair(name, value) for name, value in row.items()]
    rest = pairs[COLUMNS:]
    folded = f"<details><summary>{len(rest)} more columns</summary>{''.join(rest)}</details>" if rest else ""
    return f"{''.join(pairs[:COLUMNS])}{folded}"


# --- values ----------------------------------------------------------------------------------------------------------
def _value(value: Any, other: Any = "") -> str:
    """A column's value, with what ``other`` does not have marked. NULL, empty and hidden can be told apart."""
    if value is None:
        return '<span class="null">NULL</span>'
    said = str(value)
    if said == "":
        return '<span class="absent">empty text</span>'
    if not isinstance(other, str) or not other or other == said:
        return f'<span class="value">{_glyphs(said[:LONG])}{_cut(len(said) - LONG, len(said))}</span>'
    begin, end = _differing(said, other)
    left = max(begin - BEFORE, 0)
    right = min(len(said), left + LONG)
    stop = min(end, right)
    marked = f"<mark>{_glyphs(said[begin:stop])}</mark>" if stop > begin else ""
    before = "&hellip;" if left else ""
    return (
        f'<span class="value">{before}{_glyphs(said[left:begin])}{marked}{_glyphs(said[stop:right])}'
        f"{_cut(len(said) - right, len(said))}</span>{_codes(said[begin:stop])}"
    )


def _differing(said: str, other: str) -> tuple[int, int]:
    """Where a text is not the other one: what lies between their common beginning and their common end."""
    begin = _alike(said, other)
    return begin, len(said) - _alike(said[begin:][::-1], other[begin:][::-1])


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, pair in enumerate(zip(one, other)) if pair[0] != pair[1]), min(len(one), len(other)))


def _glyphs(said: str) -> str:
    """Characters that are not seen stand as their codes, in another colour than a backslash of the value itself."""
    parts = []
    for character in said:
        if report_words.hidden(character):
            parts.append(f"<i>{html.escape(report_words.escape(character))}</i>")
        else:
            parts.append(html.escape(character, quote=True))
    return "".join(parts)


def _cut(left: int, length: int) -> str:
    return f"&hellip; <small>({length:,} characters)</small>" if left > 0 else ""


def _codes(marked: str) -> str:
    """The code points of what differs where it is not plain ASCII: two letters may look alike."""
    if not marked or len(marked) > 8 or marked.isascii():
        return ""
    return f" <small>{' '.join(f'U+{ord(character):04X}' for character in marked)}</small>"


# --- what could not be compared --------------------------------------------------------------------------------------
def _unmade(every: Sequence[Finding]) -> str:
    every = [each for each in every if each.about != ASSERTION]
    if not every:
        return ""
    return (
        f'<section><h2>Not compared <span class="soft">{len(every)}</span></h2>'
        f"<p>None of these is a pass: whether they are the same is not known.</p>{_lines(every)}</section>"
    )


def _lines(every: Sequence[Finding]) -> str:
    rows = "".join(
        f"<tr><td>{_word(each.verdict)}</td><td class=key>{text('whole server' if each.about == SERVER else each.name)}"
        f"<br><small>on {text(each.on)}{f', {text(_mode(each.mode))}' if each.mode else ''}</small></td>"
        f"<td>{text(report_words.reason(each))}{f' <code>{text(each.code)}</code>' if each.code else ''}</td>"
        f"<td>{text(each.next_step)}</td><td class=covered>{_covered(each.entry)}</td></tr>"
        for each in every[:LINES]
    )
    more = len(every) - LINES
    rest = f"<p>And {text(counted(more, 'finding'))} more, in the JSON report.</p>" if more > 0 else ""
    return (
        '<div class="wide"><table><thead><tr><th>Verdict</th><th>What</th><th>Why</th><th>What to do</th>'
        f"<th>Covered</th></tr></thead><tbody>{rows}</tbody></table></div>{rest}"
    )


def _covered(entry: Fields) -> str:
    covered = real(entry.get("covered"))
    if covered is None:
        return text(None)
    width = round(min(max(covered, 0), 1) * 70)
    return (
        f'<svg class="bar" viewBox="0 0 70 8" aria-hidden="true"><rect width="{width}" height="8"/></svg>'
        f"<small>{text(report_words.percent(covered))}</small>"
    )


# --- assertions ------------------------------------------------------------------------------------------------------
def _assertions(report: Fields) -> str:
    every = sorted(
        report_words.entries(report, "assertions"),
        key=lambda entry: (-report_words.gravity(entry.get("verdict")), str(entry.get("name"))),
    )
    if not every:
        return ""
    rows = "".join(_assertion(entry, report) for entry in every[:LINES])
    more = len(every) - LINES
    rest = f"<p>And {text(counted(more, 'result'))} more, in the JSON report.</p>" if more > 0 else ""
    return (
        f'<section><h2>Business assertions <span class="soft">{len(every)}</span></h2>'
        '<div class="wide"><table><thead><tr><th>Verdict</th><th>Assertion</th><th>On</th><th>Severity</th>'
        "<th class=number>Rows, primary</th><th class=number>Rows there</th></tr></thead>"
        f"{rows}</table></div>{rest}</section>"
    )


def _assertion(entry: Fields, report: Fields) -> str:
    verdict = str(entry.get("verdict"))
    said = {PASS: "holds", findings.DIFFERENT: "does not hold"}.get(verdict, LABELS.get(verdict, verdict))
    code = f" <code>{text(entry.get('code'))}</code>" if entry.get("code") else ""
    why = f"<br>{text(entry.get('why'))}{code}" if entry.get("why") or code else ""
    row = (
        f'<tr><td><span class="word {_tone(verdict)}">{_sign(verdict)} {text(said)}</span></td>'
        f"<td class=key><b>{text(entry.get('name'))}</b>{why}</td><td>{text(entry.get('replica'))}</td>"
        f"<td>{text(entry.get('severity'))}</td><td class=number>{_number(entry.get('rows_primary'))}</td>"
        f"<td class=number>{_number(entry.get('rows_replica'))}</td></tr>"
    )
    rows = "".join(
        _evidence(mapping(each), report, str(entry.get("replica")))
        for each in sequence(entry.get("differences"))[:ROWS]
    )
    count = len(sequence(entry.get("differences")))
    shown = (
        f'<tr><td></td><td colspan="5"><details{" open" if count <= 10 else ""}><summary>{text(counted(count, "row"))}'
        f'</summary><table class="images">{rows}</table></details></td></tr>'
        if rows
        else ""
    )
    return f"<tbody>{row}{shown}</tbody>"


def _evidence(entry: Fields, report: Fields, on: str) -> str:
    """One row of an assertion's evidence: its kind, and both sides as far as they are told."""
    kind = str(entry.get("kind"))
    said = _KINDS.get(kind, kind).replace("{replica}", on)
    key = mapping(entry.get("key"))
    names = ", ".join(f"<code>{text(name)}</code>" for name in sequence(entry.get("columns")))
    sides = [
        f'<span class="soft">{text(title)}:</span> {_image(entry[side])}'
        for side, title in (("primary", report.get("primary")), ("replica", on))
        if entry.get(side) is not None
    ]
    other = [
        _pair(name, value)
        for name, value in entry.items()
        if name not in ("kind", "key", "columns", "primary", "replica", "last_writer")
    ]
    cells = "<br>".join(part for part in (_key(entry) if key else "", names, *sides, "".join(other)) if part)
    return f"<tbody><tr><td class=kind>{text(said if entry.get('kind') else None)}</td><td>{cells}</td></tr></tbody>"


# --- repair ----------------------------------------------------------------------------------------------------------
def _repair(report: Fields) -> str:
    every = report_words.entries(report, "repair")
    if not every:
        return ""
    cards = "".join(_mend(entry) for entry in every[:OPENED])
    more = len(every) - OPENED
    rest = f"<p>And {text(counted(more, 'entry'))} more, in the JSON report.</p>" if more > 0 else ""
    return (
        "<section><h2>Repair plan, for a person to read</h2><p><b>Nothing of this was run.</b> Rebuilding the replica "
        "from the primary (clone) is the remedy. A statement here mends the rows that were found, and not what made "
        f"them differ.</p>{cards}{rest}</section>"
    )


def _mend(entry: Fields) -> str:
    statements = [str(each) for each in sequence(entry.get("sql"))]
    shown = "\n".join(statements[:STATEMENTS])
    left = len(statements) - STATEMENTS
    more = f"<p><small>And {text(counted(left, 'statement'))} more, in the JSON report.</small></p>" if left > 0 else ""
    sql = (
        f"<details><summary>{text(counted(len(statements), 'statement'))}</summary>"
        f'<pre class="value">{_statement(shown)}</pre>{more}</details>'
        if statements
        else ""
    )
    way = str(entry.get("way") or "").replace("_", " ")
    what = text(entry.get("table") or "Whole server")
    return (
        f'<article class="card"><header><h3>{what} <span class="on">on {text(entry.get("replica"))}</span></h3>'
        f"<span>{text(way)}, {text(counted(entry.get('rows'), 'row'))}</span></header>"
        f'<p class="why">{text(entry.get("why"))}</p>{sql}</article>'
    )


def _statement(sql: str) -> str:
    """SQL keeps its lines; everything else that is not seen is written as its code."""
    return "\n".join(_glyphs(line) for line in sql.split("\n"))


# --- what is well ----------------------------------------------------------------------------------------------------
def _passes(report: Fields) -> str:
    """Tables without any finding, one line each, folded away."""
    by_name: dict[str, list[Fields]] = {}
    for entry in report_words.entries(report, "tables"):
        by_name.setdefault(report_words.table_name(entry), []).append(entry)
    well = {name: each for name, each in by_name.items() if all(entry.get("verdict") == PASS for entry in each)}
    if not well:
        return ""
    items = "".join(
        f"<li>{text(name)} <small>{text(counted(_rows(each), 'row'))}</small></li>"
        for name, each in sorted(well.items())[:PASSES]
    )
    more = len(well) - PASSES
    rest = f"<p>And {text(counted(more, 'table'))} more, in the JSON report.</p>" if more > 0 else ""
    return (
        f'<section><h2>{_sign(PASS)}The same <span class="soft">{text(counted(len(well), "table"))}, on every replica '
        f"and in every mode</span></h2><details{' open' if len(well) <= 12 else ''}><summary>the tables</summary>"
        f'<ul class="plain">{items}</ul>{rest}</details></section>'
    )


def _rows(each: Iterable[Fields]) -> int:
    return max((report_words.whole(entry.get("rows")) for entry in each), default=0)


def _seen(report: Fields) -> str:
    """What each mode sees, and what none of them saw."""
    asked = [str(mode) for mode in sequence(report.get("modes"))]
    rows = "".join(
        f"<tr><td><b>{text(MODES[mode].title)}</b></td><td>{text(MODES[mode].finds)}</td><td>{text(MODES[mode].blind)}</td>"
        f"<td class=tally>{_tally(report, mode)}</td></tr>"
        for mode in asked
        if mode in MODES
    )
    left = [MODES[mode].title for mode in findings.MODES if mode not in asked]
    note = f"<p><small>Not asked for: {text(report_words.joined(left))}.</small></p>" if left else ""
    if not rows:
        return note
    return (
        '<section><h2>What this run can see</h2><div class="wide"><table><thead><tr><th>Mode</th><th>Finds</th>'
        f"<th>Is blind to</th><th>Results</th></tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )


def _tally(report: Fields, mode: str) -> str:
    key = "assertions" if mode == findings.BUSINESS else "tables"
    verdicts = [
        str(entry.get("verdict")) for entry in report_words.entries(report, key) if entry.get("mode", mode) == mode
    ]
    if not verdicts:
        return text("none")
    well = sum(verdict == PASS for verdict in verdicts)
    return f"{well} of {len(verdicts)} pass"


def _footer(report: Fields) -> str:
    moment = text(utc(report.get("started_at")))
    return (
        f"<footer>Made from the JSON report beside this page, of the run that began at {moment}. Only pass is a pass. "
        "A difference counts when it was seen in several rounds, the replica having executed all that the primary had. "
        "This comparison wrote nothing on any server.</footer>"
    )
