"""The matrix as a page: report.json in, one self-contained HTML page out. Pure; the style is the single drill's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from drills.programs import page

text, number, duration = page.text, page.number, page.duration

BAR = 120
"""Width of the bar of an outage, in the page's pixels."""

STYLE = """
main{max-width:1320px}
table.matrix td{padding:.6rem .9rem .6rem 0}
table.matrix td.number,table.matrix th.number{white-space:nowrap;padding-right:1.1rem}
table.matrix td:nth-child(2){width:33%}table.matrix td:nth-child(3),table.matrix td:nth-child(4){width:11%}
table.matrix tr.bad td{background:color-mix(in srgb,var(--bad) 7%,transparent)}
.name{font-weight:600;display:block}.about{color:var(--soft);font-size:.84rem;line-height:1.4;display:block}
.gate{font-size:.7rem;font-weight:600;color:var(--soft);border:1px solid var(--line);border-radius:4px;
padding:.05rem .35rem;margin-left:.5rem;vertical-align:.1em;white-space:nowrap}
.range{display:inline-block;width:120px;height:14px;vertical-align:-2px}
.range line{stroke:var(--faint);stroke-width:2}.range circle{fill:var(--outage)}.range .base{stroke:var(--line)}
.zero{color:var(--good);font-weight:600}.some{color:var(--bad);font-weight:600}
.limits dt{font-weight:600;margin-top:.7rem}.limits dd{margin:.1rem 0 0;color:var(--soft);max-width:90ch}
"""


def render(report: Mapping[str, Any]) -> str:
    """The whole page."""
    passed = report["verdict"] == "pass"
    body = _header(report, passed) + _broken(report) + _numbers(report) + _matrix(report) + _limits(report)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{'pass' if passed else 'fail'}: fault matrix</title>"
        f"<style>{page.STYLE}{STYLE}</style></head><body><main>{body}{_footer(report)}</main></body></html>\n"
    )


def _header(report: Mapping[str, Any], passed: bool) -> str:
    rows = report["scenarios"]
    held = sum(not row["violations"] for row in rows)
    version = report["conditions"].get("server_version")
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report["began_at"]))
    who = {
        "manager": "The manager saw each fault by itself and acted.",
        "procedure": "The failover procedure was called right after each fault: how long it takes to notice one is not "
        "in these figures.",
    }.get(report["driver"], report["driver"])
    return (
        f'<header><div><div class="kicker">Fault matrix, MySQL {text(version)}, {text(when)}</div>'
        f"<h1>{len(rows)} faults under load, and what came of them</h1><p>{text(who)}</p>"
        '<p class="soft">Every run checks that no acknowledged transaction is missing, that a deposed primary '
        "acknowledges nothing, that one reachable server at most is writable and one host holds the address, and that "
        "nothing is promoted without proof.</p></div>"
        f'<div class="verdict {"pass" if passed else "fail"}"><b>{"PASS" if passed else "FAIL"}</b>'
        f"<span>{held} of {len(rows)} as expected</span></div></header>"
    )


def _broken(report: Mapping[str, Any]) -> str:
    items = "".join(
        f"<li><b>{text(_title(row['name']))}</b>, seed {text(one['seed'])}: "
        f"{'; '.join(text(reason) for reason in one['reasons'])}<br><code>{text(one['run'])}</code></li>"
        for row in report["scenarios"]
        for one in row["evidence"]
    )
    return f'<section class="reasons"><h3>What was violated</h3><ul>{items}</ul></section>' if items else ""


def _numbers(report: Mapping[str, Any]) -> str:
    rows, machine = report["scenarios"], report["conditions"]
    runs = sum(row["runs"] for row in rows)
    lost = None if any(row["lost"] is None for row in rows) else sum(row["lost"] for row in rows)
    entries = (
        ("Acknowledged transactions lost", number(lost), f"of {number(sum(row['acknowledged'] for row in rows))}"),
        ("Runs", number(runs), f"{number(sum(row['violations'] for row in rows))} with a violation"),
        ("Outcome unknown to the client", number(sum(row["unknown"] for row in rows)), "neither promised nor refused"),
        (
            "Session seed",
            text(report["seed"]),
            f"{number(report['repeat'])} run(s) of each, driver {text(report['driver'])}",
        ),
        (
            "Machine",
            f"load {text(machine.get('load'))}",
            f"{text(machine.get('cores'))} cores, at worst {text(machine.get('load_worst'))}",
        ),
    )
    cells = "".join(
        f"<div><dt>{title}</dt><dd>{value}<small>{note}</small></dd></div>" for title, value, note in entries
    )
    return f'<dl class="numbers">{cells}</dl>'


def _title(name: str) -> str:
    return name.replace("_", " ")


def _matrix(report: Mapping[str, Any]) -> str:
    longest = max((row["outage_ms"]["max"] for row in report["scenarios"] if row["outage_ms"]), default=1.0)
    rows = "".join(_row(row, longest) for row in report["scenarios"])
    head = (
        '<th class="number">No.</th><th>Fault</th><th>Expected</th><th>Outcome</th><th class="number">Runs</th>'
        '<th class="number">Lost</th><th class="number">Write outage: min</th><th class="number">median</th>'
        '<th class="number">max</th><th></th><th>Verdict</th>'
    )
    return f'<h2>The matrix</h2><table class="matrix"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(row: Mapping[str, Any], longest: float) -> str:
    outage = row["outage_ms"] or {}
    good = not row["violations"] and row["lost"] == 0
    style, sign, word = page.MARKS[True] if good else page.MARKS[False]
    word = "holds" if good else word
    gate = '<span class="gate">release gate</span>' if row["gate"] else ""
    lost = f'<span class="{"zero" if row["lost"] == 0 else "some"}">{number(row["lost"])}</span>'
    numbers = "".join(f'<td class="number">{duration(outage.get(key))}</td>' for key in ("min", "median", "max"))
    return (
        f'<tr class="{"" if good else "bad"}"><td class="number">{text(row["number"])}</td>'
        f'<td><span class="name">{text(_title(row["name"]))}{gate}</span>'
        f'<span class="about">{text(row["description"])}</span></td>'
        f"<td>{text(row['expected'])}</td><td>{text(row['outcome'])}</td>"
        f'<td class="number">{number(row["runs"])}</td><td class="number">{lost}</td>{numbers}'
        f"<td>{_range(outage, longest)}</td>"
        f'<td class="mark {style}"><i>{sign}</i>{word}</td></tr>'
    )


def _range(outage: Mapping[str, Any], longest: float) -> str:
    """From the shortest to the longest outage, with a dot at the median; all rows on one scale from 0."""
    if not outage:
        return ""

    def at(milliseconds: float) -> float:
        return round(4 + milliseconds / longest * (BAR - 8), 1)

    return (
        f'<svg class="range" viewBox="0 0 {BAR} 14" role="img" aria-label="of {longest / 1000:.1f} s">'
        f'<line class="base" x1="4" x2="{BAR - 4}" y1="7" y2="7"/>'
        f'<line x1="{at(outage["min"])}" x2="{at(outage["max"])}" y1="7" y2="7"/>'
        f'<circle cx="{at(outage["median"])}" cy="7" r="3.5"/></svg>'
    )


def _limits(report: Mapping[str, Any]) -> str:
    limited = [row for row in report["scenarios"] if row["limits"]]
    parts = []
    if limited:
        items = "".join(f"<dt>{text(_title(row['name']))}</dt><dd>{text(row['limits'])}</dd>" for row in limited)
        parts.append(f'<h2>What this lab can not make, or not wholly</h2><dl class="limits">{items}</dl>')
    if report["not_run"]:
        names = ", ".join(text(_title(one["name"])) for one in report["not_run"])
        parts.append(f'<h2>Not run this time</h2><p class="soft">{names}</p>')
    return "".join(parts)


def _footer(report: Mapping[str, Any]) -> str:
    return (
        "<footer>Made from report.json alone. Write outage: from the old primary's last acknowledgement to the new "
        "one's first, as the application saw it through the virtual address. A dash: nobody was promoted. "
        "Nothing is what a refusal does, too: an attempt that is refused has changed nothing. "
        "A run whose rows could not be read counts as a violation.</footer>"
    )
