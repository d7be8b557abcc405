# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's page: report.json in, one self-contained HTML page out.

`render` is pure. The page loads nothing, runs nothing (its hover texts are SVG titles), follows the reader's light or
dark setting and prints on white. Colours are Okabe and Ito's, and nothing is told by colour alone. Every value is
escaped where it enters the page: `text` and `attribute` are the only ways in.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

WIDTH = 1120
LEFT, RIGHT = 124, 14
"""The SVG's width, and its margins for labels, in its own units."""

MARGIN_BEFORE_MS, MARGIN_AFTER_MS = 3000, 4000
"""How much the detailed timeline shows around the fault and the first acknowledgement after it."""

ANCHORS = ("fault_ms", "failover_started_ms", "last_before_ms")
"""With which of its moments the timeline's interesting part begins, the first that is known."""

OVERVIEW_BINS = 280
SHORT_EVIDENCE = 12

PLANNED = (
    "A planned change: the old primary was alive and read-only, so what it had executed is all that was ever "
    "acknowledged, and nobody had to be frozen."
)

MARKS = {
    True: ("holds", "&#10003;", "holds"),
    False: ("broken", "&#10007;", "broken"),
    None: ("unseen", "?", "not observed"),
}

TITLES = {
    "no_acknowledged_transaction_lost": "No acknowledged transaction is missing on the surviving primary",
    "deposed_primary_never_acknowledges": "A deposed primary never acknowledges another commit",
    "at_most_one_reachable_writable": "At most one reachable server is writable",
    "errant_found_archived_named": "What only the old primary has is found, archived and named",
    "one_holder_of_the_address": "Two hosts never hold the address beyond its bound",
    "nothing_promoted_unproven": "Nothing is promoted without proof, or without a person who says so",
    "result_as_expected": "The failover did what this drill expects",
    "zero_loss_as_expected": "The claim about loss is the expected one, and the rows bear it out",
    "enough_acknowledgements": "Enough transactions were acknowledged",
    "writer_log_whole": "The writer's log is whole",
    "acknowledged_once": "No transaction was acknowledged twice",
    "writes_resumed": "The application wrote again on the new primary",
    "replicas_complete": "Every replica has what the primary has",
    "rows_explained": "Every row was written by the writer, as it is",
    "balances_agree": "Every balance is the sum of its ledger rows",
}

STYLE = """
:root{--ink:#1b1f24;--soft:#59636e;--faint:#8a939d;--line:#d9dee3;--paper:#fff;--card:#f7f8fa;
--ack:#0072b2;--unknown:#e69f00;--failed:#cc79a7;--bad:#b8430a;--good:#00694f;--band:#e8edf3;--band2:#dbe3ec;
--outage:#d55e00;--none:#eceff2;--ro:#9ec9e6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a4adb7;--faint:#78828d;--line:#323942;--paper:#14171b;
--card:#1c2026;--ack:#56b4e9;--unknown:#e69f00;--failed:#cc79a7;--bad:#f0864a;--good:#3fbf9a;--band:#222a34;
--band2:#2a3441;--outage:#f0864a;--none:#262c33;--ro:#2c5f80}}
@media print{:root{--ink:#000;--soft:#444;--faint:#666;--line:#bbb;--paper:#fff;--card:#fff;--ack:#0072b2;
--unknown:#e69f00;--failed:#cc79a7;--bad:#b8430a;--good:#00694f;--band:#eef1f5;--band2:#e2e8ef;--outage:#d55e00;
--none:#f0f0f0;--ro:#9ec9e6}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}section,tr,svg{break-inside:avoid}
details>summary{list-style:none}main{padding:0!important}}
*{box-sizing:border-box}
html{font-size:15px}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:2.4rem 2rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:.15rem 0 .4rem;font-weight:650;letter-spacing:-.01em}
h2{font-size:1.08rem;margin:2.6rem 0 .8rem;font-weight:650}
h3{font-size:.93rem;margin:1.2rem 0 .4rem;font-weight:600;color:var(--soft)}
p{margin:.3rem 0;max-width:75ch}
.kicker,.soft{color:var(--soft)}.kicker{font-size:.86rem}
header{display:flex;gap:1.6rem;align-items:flex-start;border-bottom:1px solid var(--line);padding-bottom:1.5rem}
header>div{flex:1}
.verdict{flex:none;min-width:9.5rem;text-align:center;border:2px solid;border-radius:8px;padding:.7rem 1.1rem}
.verdict b{display:block;font-size:1.7rem;line-height:1.15;letter-spacing:.06em}
.verdict span{font-size:.82rem}
.pass{color:var(--good)}.fail{color:var(--bad)}
.reasons{border-left:3px solid var(--bad);margin:1.5rem 0 0;padding:.1rem 0 .1rem 1.1rem}
.reasons ul{margin:.3rem 0;padding-left:1.1rem}.reasons li{margin:.25rem 0}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:1px;background:var(--line);
border:1px solid var(--line);border-radius:8px;overflow:hidden;margin:1.6rem 0 0}
.numbers div{background:var(--paper);padding:.85rem 1rem}
.numbers dt{font-size:.8rem;color:var(--soft)}
.numbers dd{margin:.1rem 0 0;font-size:1.45rem;font-weight:600;line-height:1.2;overflow-wrap:anywhere}
.numbers small{display:block;font-size:.78rem;font-weight:400;color:var(--soft);line-height:1.35;margin-top:.15rem}
table{border-collapse:collapse;width:100%;font-size:.88rem;margin:.3rem 0 1.1rem}
th,td{text-align:left;vertical-align:top;padding:.5rem .8rem .5rem 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
th{font-weight:600;color:var(--soft);font-size:.8rem}
td.number,th.number{text-align:right}
table.facts{width:auto;min-width:19rem}table.facts td:first-child{padding-right:2rem;color:var(--soft)}
table.checks td:nth-child(2){width:33%}
table.evidence td:first-child,table.evidence td:last-child{white-space:nowrap}
td.mark{width:8.2rem;white-space:nowrap;font-weight:600}
.holds{color:var(--good)}.broken{color:var(--bad)}.unseen{color:var(--soft)}
.mark i{display:inline-block;width:1.35em;height:1.35em;line-height:1.3em;border:1.5px solid currentColor;
border-radius:50%;text-align:center;font-style:normal;font-size:.82em;margin-right:.45em}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
code{overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.8rem;white-space:pre-wrap;
overflow-wrap:anywhere;margin:.4rem 0}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(310px,1fr));gap:2rem}
.sides>*{min-width:0}
@media (max-width:820px){header{flex-direction:column}main{padding:1.2rem}}
details summary{cursor:pointer;color:var(--soft);font-size:.86rem;margin:.5rem 0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:12px;fill:var(--soft);font-family:inherit}
svg .strong{fill:var(--ink);font-weight:600}
svg .over{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.chart{overflow-x:auto}.chart svg{min-width:720px}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 2.2rem;font-size:.82rem;color:var(--soft);margin:.5rem 0 0}
.legend b{font-weight:600;margin-right:.2em}
.legend i{display:inline-block;width:.85em;height:.85em;border-radius:2px;margin:0 .35em 0 .7em;vertical-align:-.08em}
.ack{fill:var(--ack);background:var(--ack)}.unk{fill:var(--unknown);background:var(--unknown)}
.rej{fill:var(--failed);background:var(--failed)}
.writable{fill:var(--ack);background:var(--ack)}.readonly{fill:var(--ro);background:var(--ro)}
.absent{fill:var(--none);background:var(--none);stroke:var(--line)}.offline{fill:var(--unknown);background:var(--unknown)}
.two{fill:var(--outage);background:var(--outage)}
.axis{stroke:var(--line);fill:none}.grid{stroke:var(--line);stroke-dasharray:2 3}
.fault{stroke:var(--outage);stroke-width:1.6}.event{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:4 3}
.outage{fill:var(--outage);opacity:.10}.outage-bar{stroke:var(--outage);stroke-width:2;fill:none}
svg text.alarm{fill:var(--bad);font-weight:600}
.band{fill:var(--band)}.band.odd{fill:var(--band2)}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.82rem;color:var(--soft)}
"""


def text(value: Any) -> str:
    """A value as it may stand between tags; an en dash for what is not known."""
    return "&ndash;" if value is None or value == "" else html.escape(str(value), quote=True)


def number(value: Any) -> str:
    """A number with thin spaces between its thousands; anything else as `text`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text(value)
    digits = f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.1f}"
    return digits.replace(",", "&#8239;")


def duration(milliseconds: float | None) -> str:
    """Milliseconds as a person says them."""
    if milliseconds is None:
        return "&ndash;"
    if milliseconds < 1000:
        return f"{number(milliseconds)}&#8239;ms"
    return f"{milliseconds / 1000:.2f}&#8239;s"


def render(report: dict[str, Any]) -> str:
    """The whole page for a report as report.json holds it."""
    body = "".join(
        (
            _header(report),
            _reasons(report),
            _numbers(report),
            _timeline(report),
            _phases(report),
            _findings(report),
            _proof(report),
            _errant(report),
            _topology(report),
            _footer(report),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(report.get('verdict'))}: {text(report.get('scenario'))}</title>"
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


# --- the upper part -------------------------------------------------------------------------------------------


def _header(report: dict[str, Any]) -> str:
    passed = report.get("verdict") == "pass"
    began = (report.get("timeline") or {}).get("origin_wall")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began)) if began else None
    checks = [*(report.get("invariants") or []), *(report.get("conditions") or [])]
    held = sum(check.get("holds") is True for check in checks)
    about = f"<p>{text(report['description'])}</p>" if report.get("description") else ""
    return (
        "<header><div>"
        f'<div class="kicker">Failover drill, MySQL {text(report.get("server_version"))}, {text(when)}</div>'
        f"<h1>{text(report.get('scenario'))}</h1>{about}"
        f'<p class="soft">Expected: {_expectation(report.get("expectation"))}</p></div>'
        f'<div class="verdict {"pass" if passed else "fail"}"><b>{"PASS" if passed else "FAIL"}</b>'
        f"<span>{held} of {len(checks)} checks hold</span></div></header>"
    )


def _expectation(expectation: Any) -> str:
    said = {
        "failover": "a promotion that is proven to lose nothing",
        "refuse": "a refusal, for a promotion could not be proven to lose nothing",
        "unproven": "a promotion ordered by a person, reported as unproven",
    }
    return text(said.get(expectation, expectation))


def _reasons(report: dict[str, Any]) -> str:
    reasons = report.get("reasons") or []
    if not reasons:
        return ""
    items = "".join(f"<li>{_reason(str(reason))}</li>" for reason in reasons)
    return f'<section class="reasons"><h3>Why it fails</h3><ul>{items}</ul></section>'


def _reason(reason: str) -> str:
    """A reason with its check's title in place of the name."""
    name, colon, rest = reason.partition(": ")
    return f"<b>{text(TITLES[name])}.</b> {text(rest)}" if colon and name in TITLES else text(reason)


def _numbers(report: dict[str, Any]) -> str:
    fates = report.get("unknown_outcomes") or {}
    proof = report.get("proof") or {}
    frozen = proof.get("frozen")
    frozen = len(frozen) if isinstance(frozen, (list, dict)) else frozen
    if report.get("mode") == "planned":
        weighed = "by the old primary's own word"
    elif frozen is None:
        weighed = "no proof"
    else:
        weighed = f"{text(frozen)} frozen of {text(proof.get('required'))} required"
    entries = (
        ("Acknowledged transactions lost", number(report.get("lost")), f"of {number(report.get('acknowledged'))}"),
        ("Write outage", duration(report.get("write_outage_ms")), "last answer of the old to first of the new primary"),
        ("Zero loss", text(report.get("zero_loss")), weighed),
        (
            "Outcome unknown to the client",
            number(report.get("unknown")),
            f"{number(fates.get('present'))} are there, {number(fates.get('absent'))} are not",
        ),
        (
            "Primary",
            f"{text(report.get('old_primary'))} &rarr; {text(report.get('new_primary'))}",
            "promotion refused" if (report.get("refusal") or {}).get("refused") else "before and after",
        ),
    )
    cells = "".join(
        f"<div><dt>{title}</dt><dd>{value}<small>{note}</small></dd></div>" for title, value, note in entries
    )
    return f'<dl class="numbers">{cells}</dl>'


# --- the timeline ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Milliseconds to the SVG's horizontal units."""

    begin: float
    end: float

    def at(self, milliseconds: float) -> float:
        inside = min(max(milliseconds, self.begin), self.end)
        return round(LEFT + (inside - self.begin) / (self.end - self.begin) * (WIDTH - LEFT - RIGHT), 2)

    def shows(self, milliseconds: float | None) -> bool:
        return milliseconds is not None and self.begin <= milliseconds <= self.end


def _timeline(report: dict[str, Any]) -> str:
    line = report.get("timeline") or {}
    total = len(line.get("acknowledged") or []) * (line.get("bin_ms") or 0)
    if not total:
        return "<h2>Timeline</h2><p>No write rate was recorded.</p>"
    window = _window(line, total, report.get("phases") or [], report.get("observation") or {})
    parts = ["<h2>Timeline</h2>"]
    if total > 1.25 * (window.end - window.begin):
        parts += [
            "<h3>The whole run</h3>",
            f'<div class="chart">{_overview(line, total, window)}</div>',
            f"<h3>Around the {'change' if line.get('fault_ms') is None else 'fault'}</h3>",
        ]
    parts += [f'<div class="chart">{_detail(report, line, window)}</div>', _legend()]
    return f"<section>{''.join(parts)}</section>"


def _window(line: dict[str, Any], total: float, phases: list[dict[str, Any]], seen: dict[str, Any]) -> Scale:
    """What the detailed chart shows: the fault until writes are back, and every time at which something was held or
    writable twice, with a margin; everything when nothing happened. A planned change begins with itself."""
    fault = next((line[key] for key in ANCHORS if line.get(key) is not None), None)
    if fault is None:
        return Scale(0, total)
    doubled = [stretch for stretch in seen.get("two_writable") or [] if stretch[2]]
    for stretches in (seen.get("addresses") or {}).values():
        doubled += [stretch for stretch in stretches if "+" in str(stretch[2])]
    ends = [fault, line.get("first_after_ms"), line.get("promoted_ms"), *(stretch[1] for stretch in doubled)]
    started = line.get("failover_started_ms")
    if started is not None:
        ends += [started + (phase.get("start_ms") or 0) + (phase.get("duration_ms") or 0) for phase in phases]
    end = max(moment for moment in ends if moment is not None)
    begin = max(0.0, min([fault, *(stretch[0] for stretch in doubled)]) - MARGIN_BEFORE_MS)
    return Scale(begin, max(min(total, end + MARGIN_AFTER_MS), begin + 1000))


def _overview(line: dict[str, Any], total: float, window: Scale) -> str:
    height, base = 78, 60
    scale = Scale(0, total)
    bin_ms = line["bin_ms"]
    group = max(1, -(-len(line["acknowledged"]) // OVERVIEW_BINS))
    sums = [sum(line["acknowledged"][first : first + group]) for first in range(0, len(line["acknowledged"]), group)]
    peak = max(1, *sums)
    shape = "".join(
        f"H{scale.at(index * group * bin_ms)}V{base - 50 * count / peak:.1f}" for index, count in enumerate(sums)
    )
    begin, end = scale.at(window.begin), scale.at(window.end)
    return (
        _open_svg(height, "Acknowledged transactions over the whole run")
        + f'<rect class="band" x="{begin}" y="4" width="{end - begin:.2f}" height="{base - 4}"/>'
        + f'<path class="ack" d="M{LEFT},{base}{shape}H{scale.at(total)}V{base}Z"/>'
        + (_vertical(scale.at(line["fault_ms"]), 4, base, "fault") if scale.shows(line.get("fault_ms")) else "")
        + _axis(scale, base)
        + "</svg>"
    )


def _detail(report: dict[str, Any], line: dict[str, Any], scale: Scale) -> str:
    """Phases, write rate, and below it every host and every address, all over one axis."""
    phases, phases_height = _phase_bands(report.get("phases") or [], line, scale)
    top = 46 + phases_height
    base = top + 170
    lanes, bottom = _lanes(report.get("observation") or {}, scale, base + 44)
    return "".join(
        (
            _open_svg(bottom + 6, "Write rate, phases, hosts and addresses around the fault"),
            _outage(line, scale, top, base),
            _bars(line, scale, top, base),
            _axis(scale, base),
            _marks(line, scale, top, bottom if lanes else base),
            phases,  # after the marks, so that their lines do not cross out its labels
            _outage_label(line, scale, top),
            lanes,
            "</svg>",
        )
    )


def _open_svg(height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{text(label)}">'


def _vertical(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def _bars(line: dict[str, Any], scale: Scale, top: float, base: float) -> str:
    """Stacked bars: acknowledged below, then unknown, then failed; one title for each bin."""
    bin_ms, kinds = line["bin_ms"], (("acknowledged", "ack"), ("unknown", "unk"), ("failed", "rej"))
    first, last = int(scale.begin // bin_ms), int(-(-scale.end // bin_ms))
    columns = [
        (index, [line[kind][index] if index < len(line[kind]) else 0 for kind, _style in kinds])
        for index in range(first, min(last, len(line["acknowledged"])))
    ]
    peak = max((sum(counts) for _index, counts in columns), default=0) or 1
    unit = (base - top) / peak
    drawn = [_vertical_scale(peak, bin_ms, top, base)]
    for index, counts in columns:
        if not any(counts):
            continue
        x, end, y = scale.at(index * bin_ms), scale.at((index + 1) * bin_ms), base
        drawn.append(f"<g><title>{_bin_title(index * bin_ms, counts)}</title>")
        for count, (_kind, style) in zip(counts, kinds):
            if count:
                y -= count * unit
                drawn.append(
                    f'<rect class="{style}" x="{x}" y="{y:.1f}" width="{max(end - x - 0.6, 0.6):.2f}" '
                    f'height="{count * unit:.1f}"/>'
                )
        drawn.append("</g>")
    return "".join(drawn)


def _bin_title(begin_ms: float, counts: list[int]) -> str:
    return f"{begin_ms / 1000:.1f} s: {counts[0]} acknowledged, {counts[1]} unknown, {counts[2]} failed"


def _vertical_scale(peak: int, bin_ms: float, top: float, base: float) -> str:
    per_second = peak * 1000 / bin_ms
    lines = []
    for share in (0.5, 1.0):
        y = base - (base - top) * share
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(round(per_second * share))}/s</text>'
        )
    return "".join(lines)


def _axis(scale: Scale, base: float) -> str:
    """A horizontal axis in seconds since the writer's start."""
    step = next(
        (
            size
            for size in (100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000)
            if (scale.end - scale.begin) / size <= 12
        ),
        600000,
    )
    drawn = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>']
    tick = -(-scale.begin // step) * step
    while tick <= scale.end:
        x = scale.at(tick)
        label = f"{tick / 1000:.1f}" if step < 1000 else f"{tick / 1000:.0f}"
        drawn.append(
            f'<line class="axis" x1="{x}" x2="{x}" y1="{base}" y2="{base + 4}"/>'
            f'<text x="{x}" y="{base + 17}" text-anchor="middle">{label}&#8239;s</text>'
        )
        tick += step
    return "".join(drawn)


def _outage_span(line: dict[str, Any], scale: Scale) -> tuple[float, float] | None:
    """Where the time without an acknowledgement lies in the chart; None when it is not known or not shown."""
    begin, end = line.get("last_before_ms"), line.get("first_after_ms")
    if begin is None or end is None or not (scale.shows(begin) or scale.shows(end)):
        return None
    return scale.at(begin), scale.at(end)


def _outage(line: dict[str, Any], scale: Scale, top: float, base: float) -> str:
    span = _outage_span(line, scale)
    if span is None:
        return ""
    width = max(span[1] - span[0], 1)
    return f'<rect class="outage" x="{span[0]}" y="{top}" width="{width:.2f}" height="{base - top:.1f}"/>'


def _outage_label(line: dict[str, Any], scale: Scale, top: float) -> str:
    span = _outage_span(line, scale)
    if span is None:
        return ""
    length = duration(line["first_after_ms"] - line["last_before_ms"])
    return (
        f'<path class="outage-bar" d="M{span[0]},{top - 4}V{top - 10}H{span[1]}V{top - 4}"/>'
        f'<text class="alarm over" x="{sum(span) / 2:.1f}" y="{top - 15}" text-anchor="middle">'
        f"no acknowledgement for {length}</text>"
    )


def _marks(line: dict[str, Any], scale: Scale, top: float, bottom: float) -> str:
    drawn = ""
    if scale.shows(line.get("fault_ms")):
        x = scale.at(line["fault_ms"])
        drawn += _vertical(x, 16, bottom, "fault")
        drawn += (
            f'<text class="alarm over" x="{x - 6}" y="14" text-anchor="end">fault: {text(line.get("fault"))}</text>'
        )
    if scale.shows(line.get("promoted_ms")):
        x = scale.at(line["promoted_ms"])
        drawn += _vertical(x, 16, bottom, "event")
        drawn += f'<text class="strong over" x="{x + 6}" y="14">promoted</text>'
    return drawn


def _phase_bands(phases: list[dict[str, Any]], line: dict[str, Any], scale: Scale) -> tuple[str, float]:
    """(bands, their height): one row for each phase, where the failover's start is known."""
    started = line.get("failover_started_ms")
    if started is None or not phases:
        return "", 0
    drawn, row = [], 15
    for index, phase in enumerate(phases):
        begin = started + float(phase.get("start_ms") or 0)
        length = float(phase.get("duration_ms") or 0)
        if not (scale.shows(begin) or scale.shows(begin + length)):
            continue
        x, x2, y = scale.at(begin), scale.at(begin + length), 24 + index * row
        label = f"{text(phase.get('name'))} {duration(length)}"
        near_end = x2 > WIDTH - 220
        drawn.append(
            f'<g><title>{label}</title><rect class="band{" odd" if index % 2 else ""}" x="{x}" y="{y}" '
            f'width="{max(x2 - x, 2):.2f}" height="{row - 3}" stroke="var(--faint)" stroke-width=".5"/>'
            f'<text class="over" x="{(x - 6) if near_end else (x2 + 6):.1f}" y="{y + 10}" '
            f'text-anchor="{"end" if near_end else "start"}">{label}</text></g>'
        )
    return "".join(drawn), len(phases) * row + 22


def _lanes(seen: dict[str, Any], scale: Scale, top: float) -> tuple[str, float]:
    """(lanes, bottom): a strip for each host and each address, coloured by what was seen."""
    rows = [(name, line, _host_style) for name, line in (seen.get("hosts") or {}).items()]
    rows += [(name, line, _holder_style) for name, line in (seen.get("addresses") or {}).items()]
    drawn, y = [], top
    for name, stretches, style in rows:
        drawn.append(
            f'<text class="strong" x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{text(_short_middle(name, 16))}</text>'
        )
        for begin, end, state in stretches:
            if end < scale.begin or begin > scale.end:
                continue
            x, x2 = scale.at(begin), scale.at(end)
            drawn.append(_stretch(x, x2, y, style(state), str(state), style is _holder_style))
        y += 22
    return "".join(drawn), y


def _stretch(x: float, x2: float, y: float, style: str, state: str, labelled: bool) -> str:
    label = ""
    if labelled and x2 - x > 130 and state != "nobody":
        label = (
            f'<text x="{x + 7}" y="{y + 12}" style="fill:var(--ink)">{text(_short(state, int((x2 - x) / 7.5)))}</text>'
        )
    return (
        f'<g><title>{text(state)}</title><rect class="{style}" x="{x}" y="{y}" '
        f'width="{max(x2 - x, 1.5):.2f}" height="16"/>'
        f"{label}</g>"
    )


def _host_style(state: str) -> str:
    return {"writable": "writable", "read-only": "readonly", "offline": "offline"}.get(state, "absent")


def _holder_style(state: str) -> str:
    return "absent" if state == "nobody" else "two" if "+" in state else "readonly"


def _short(value: str, length: int) -> str:
    return value if len(value) <= length else value[: length - 1] + "\u2026"


def _short_middle(value: str, length: int) -> str:
    """For addresses, whose end tells them apart."""
    half = length // 2
    return value if len(value) <= length else value[: length - half - 1] + "\u2026" + value[-half:]


LEGEND = (
    ("Transactions", (("ack", "acknowledged"), ("unk", "outcome unknown"), ("rej", "failed"))),
    (
        "Hosts",
        (("writable", "writable"), ("readonly", "read-only"), ("offline", "offline mode"), ("absent", "no answer")),
    ),
    ("Address", (("readonly", "one holder"), ("two", "two holders"), ("absent", "nobody answers"))),
)


def _legend() -> str:
    groups = (
        f"<span><b>{title}</b>" + "".join(f' <i class="{style}"></i>{label}' for style, label in entries) + "</span>"
        for title, entries in LEGEND
    )
    return f'<div class="legend">{"".join(groups)}</div>'


# --- tables ---------------------------------------------------------------------------------------------------


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], style: str = "") -> str:
    """A table. Cells are HTML already: a whole `<td` or `<th`, or what goes into one."""
    titles = "".join(_cell(title, "th") for title in head)
    body = "".join("<tr>" + "".join(_cell(cell, "td") for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{titles}</tr></thead>" if titles else ""
    return f'<table class="{style}">{top}<tbody>{body}</tbody></table>'


def _cell(content: str, tag: str) -> str:
    return content if content.startswith(f"<{tag}") else f"<{tag}>{content}</{tag}>"


def _phases(report: dict[str, Any]) -> str:
    phases = report.get("phases") or []
    if not phases:
        return ""
    rows = [
        (
            text(phase.get("name")),
            f'<td class="number">{duration(phase.get("start_ms"))}</td>',
            f'<td class="number">{duration(phase.get("duration_ms"))}</td>',
        )
        for phase in phases
    ]
    table = _table(("Phase", '<th class="number">Start</th>', '<th class="number">Duration</th>'), rows, "facts")
    return f"<details><summary>Phases as a table</summary>{table}</details>"


def _findings(report: dict[str, Any]) -> str:
    parts = []
    for key, title in (("invariants", "Invariants"), ("conditions", "Conditions of the verdict")):
        rows = [
            (
                _mark(finding.get("holds")),
                text(TITLES.get(finding.get("name"), finding.get("name"))),
                text(finding.get("evidence")),
            )
            for finding in report.get(key) or []
        ]
        parts.append(f"<section><h2>{title}</h2>{_table(('', 'Check', 'Evidence'), rows, 'checks')}</section>")
    return "".join(parts)


def _mark(holds: bool | None) -> str:
    style, sign, word = MARKS[holds]
    return f'<td class="mark {style}"><i>{sign}</i>{word}</td>'


def _proof(report: dict[str, Any]) -> str:
    proof, refusal = report.get("proof") or {}, report.get("refusal") or {}
    parts = []
    if refusal.get("refused"):
        reasons = "".join(f"<li>{text(reason)}</li>" for reason in refusal.get("reasons") or [])
        parts.append(
            f"<h2>The refusal</h2><p>Nothing was promoted. The failover gave these reasons:</p><ul>{reasons}</ul>"
        )
    if proof.get("n") is None and not proof.get("evidence"):
        return "".join(parts)
    title = "What could be shown" if refusal.get("refused") else "The proof"
    planned = report.get("mode") == "planned"
    parts.append(f"<h2>{title}</h2><p>{PLANNED if planned else _arithmetic(proof)}</p>")
    if not planned:
        parts.append(_testimony(proof.get("testimony")))
    parts.append(_evidence(proof.get("evidence") or []))
    return f"<section>{''.join(parts)}</section>"


def _arithmetic(proof: dict[str, Any]) -> str:
    return (
        f"Of n = {text(proof.get('n'))} servers that can acknowledge, a commit waits for k = {text(proof.get('k'))}. "
        f"So n &minus; k + 1 = {text(proof.get('required'))} had to be frozen. Frozen: {_listed(proof.get('frozen'))}."
    )


def _listed(frozen: Any) -> str:
    if isinstance(frozen, list):
        return ", ".join(f"<code>{text(item)}</code>" for item in frozen) or "none"
    return text(frozen)


def _testimony(testimony: Any) -> str:
    if testimony in (None, "", {}):
        return "<p>There is no testimony of the old primary.</p>"
    holds = testimony.get("holds") if isinstance(testimony, dict) else None
    said = "" if holds is None else f" It {'holds' if holds else 'does not hold'}."
    return f"<p>Testimony of the old primary: the last it said of its semi-sync state.{said}</p>{_structure(testimony)}"


def _evidence(evidence: list[Any]) -> str:
    rows = []
    for fact in evidence:
        fact = fact if isinstance(fact, dict) else {"value": fact}
        rows.append(
            (
                text(fact.get("claim")),
                f"<code>{text(fact.get('server_uuid'))}</code>",
                f"<code>{text(_compact(fact.get('value')))}</code>",
                text(_clock(fact.get("at", fact.get("time")))),
            )
        )
    if not rows:
        return "<p>No evidence was cited.</p>"
    table = _table(("Claim", "Server", "It said", "At"), rows, "evidence")
    return table if len(rows) <= SHORT_EVIDENCE else f"<details><summary>{len(rows)} facts</summary>{table}</details>"


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _clock(moment: Any) -> Any:
    """Epoch seconds as a time of day in UTC with milliseconds; anything else as it is."""
    if isinstance(moment, bool) or not isinstance(moment, (int, float)):
        return moment
    return time.strftime("%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03d}"


def _errant(report: dict[str, Any]) -> str:
    errant, archive = report.get("errant"), report.get("archive") or {}
    if errant is None and (report.get("refusal") or {}).get("refused"):
        told = "<p>Nothing was promoted, so no server has anything that its primary lacks.</p>"
    elif errant is None:
        told = "<p>The old primary was not brought back; whether it has transactions of its own is not known.</p>"
    elif errant == "":
        told = "<p>The old primary had no transaction of its own.</p>"
    else:
        told = f"<p>Only the old primary had these:</p><pre>{text(errant)}</pre>"
        if archive.get("path"):
            told += f"<p>Archived in <code>{text(archive['path'])}</code>.</p>"
        if archive.get("manifest"):
            told += _structure(archive["manifest"])
    how = f"<p>Brought back by: {text(archive['how'])}</p>" if archive.get("how") else ""
    return f"<section><h2>Errant transactions</h2>{told}{how}</section>"


# --- free-form documents --------------------------------------------------------------------------------------


def _topology(report: dict[str, Any]) -> str:
    topology = report.get("topology") or {}
    if not any(topology.values()):
        return ""
    sides = "".join(
        f"<div><h3>{title}</h3>{_structure(topology.get(side)) if topology.get(side) else '<p>not recorded</p>'}</div>"
        for side, title in (("before", "Before"), ("after", "After the failover"), ("final", "At the end"))
        if side != "final" or topology.get(side)
    )
    return f'<section><h2>Topology</h2><div class="sides">{sides}</div></section>'


def _structure(value: Any) -> str:
    """Any JSON value as HTML: small objects as a table, objects of objects or lists folded away."""
    if not isinstance(value, dict):
        return f"<pre>{text(json.dumps(value, indent=2))}</pre>"
    flat = {key: item for key, item in value.items() if not isinstance(item, (dict, list)) or not item}
    parts = []
    if flat:
        rows = ((text(key), f"<code>{text(_plain(item))}</code>") for key, item in flat.items())
        parts.append(_table((), rows, "facts"))
    for key, item in value.items():
        if key not in flat:
            inner = _servers(item) or f"<pre>{text(json.dumps(item, indent=2, sort_keys=True))}</pre>"
            opened = " open" if inner.startswith("<table") else ""
            parts.append(f"<details{opened}><summary>{text(key)}</summary>{inner}</details>")
    return "".join(parts)


def _servers(items: Any) -> str:
    """A list of objects, or an object of objects, as a table of what is short; "" for anything else."""
    if isinstance(items, dict):
        items = [{"name": key, **item} if isinstance(item, dict) else item for key, item in items.items()]
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        return ""
    columns = [
        key
        for key in items[0]
        if all(not isinstance(item.get(key), (dict, list)) and len(str(item.get(key))) <= 80 for item in items)
    ][:6]
    if not columns:
        return ""
    return _table(
        (text(column) for column in columns), [[text(_plain(item.get(column))) for column in columns] for item in items]
    )


def _plain(value: Any) -> Any:
    """true and false as JSON says them, lists and objects that are empty as nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value in ([], {}) else value


def _footer(report: dict[str, Any]) -> str:
    seen = report.get("observation") or {}
    return (
        f"<footer>Made from report.json alone. The observer took {number(seen.get('samples'))} samples. "
        "A check that was not observed counts as failed: a check that saw nothing proves nothing. "
        "Times on the axes are seconds since the writer's start; clock times are UTC.</footer>"
    )
