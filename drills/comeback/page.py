"""The rounds as a page: report.json in, one self-contained HTML page out. Pure; the style is the single drill's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from drills.programs import page

text, number = page.text, page.number

STYLE = """
main{max-width:1180px}
table.rounds td,table.rounds th{padding:.4rem .9rem .4rem 0;vertical-align:top}
table.rounds .number{white-space:nowrap}
tr.bad td{background:color-mix(in srgb,var(--bad) 7%,transparent)}
.about{color:var(--soft);font-size:.84rem;line-height:1.4;display:block}
details pre{font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}
.gtids{overflow-wrap:anywhere}
"""
_FOOTER = (
    "Made from report.json alone. Rows are compared by a checksum over every value of every row of all schemas but "
    "MySQL's own and the collection's; definitions as SHOW CREATE has them, without the counter of AUTO_INCREMENT. "
    "kill -9 leaves what was written to the kernel: what a disk keeps without power is not shown here."
)
_HEADLINES = {
    "rewind": "The old primary is rewound",
    "rewind_refused": "A rewind that must not be",
    "clone_rejoin": "The old primary is cloned",
}


def render(report: Mapping[str, Any]) -> str:
    title = _HEADLINES.get(report["scenario"], report["scenario"])
    return document(report, title, _rounds(report) + _details(report), _FOOTER)


def document(report: Mapping[str, Any], title: str, shown: str, footer: str) -> str:
    """The page of a drill whose report has this shape. ``shown``: HTML of its rounds; ``footer``: plain text."""
    passed = report["verdict"] == "pass"
    body = _header(report, title, passed) + _reasons(report) + _checks(report) + shown
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{'pass' if passed else 'fail'}: {text(title)}</title>"
        f"<style>{page.STYLE}{STYLE}</style></head><body><main>{body}<footer>{text(footer)}</footer></main></body></html>\n"
    )


def _header(report: Mapping[str, Any], title: str, passed: bool) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report["began_at"]))
    held = sum(check["holds"] is True for check in report["checks"])
    mutant = f"<p><b>With a mutant: {text(report['mutant'])}.</b> It has to fail.</p>" if report["mutant"] else ""
    missing = f'<p class="soft">Not asked for: {text(", ".join(report["not_run"]))}.</p>' if report["not_run"] else ""
    return (
        f'<header><div><div class="kicker">Drill, MySQL {text(report["server_version"])}, {text(when)}, load '
        f"{text(report['conditions']['load'])}</div><h1>{text(title)}</h1>"
        f"<p>{text(report['description'])}.</p>{mutant}{missing}</div>"
        f'<div class="verdict {"pass" if passed else "fail"}"><b>{"PASS" if passed else "FAIL"}</b>'
        f"<span>{held} of {len(report['checks'])} checks hold in {len(report['rounds'])} rounds</span></div></header>"
    )


def _reasons(report: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{text(reason)}</li>" for reason in report["reasons"])
    return f'<section class="reasons"><h3>Why it fails</h3><ul>{items}</ul></section>' if items else ""


def _checks(report: Mapping[str, Any]) -> str:
    rows = "".join(check(one["holds"], one["title"], one["said"]) for one in report["checks"])
    return f'<h2>Checks</h2><table class="checks"><tbody>{rows}</tbody></table>'


def check(holds: Any, title: str, said: str) -> str:
    style, sign, word = page.MARKS[holds]
    return (
        f'<tr><td class="mark {style}"><i>{sign}</i>{word}</td><td>{text(title)}</td>'
        f'<td class="gtids">{text(said)}</td></tr>'
    )


def good(one: Mapping[str, Any]) -> bool:
    """Whether a round holds."""
    return all(each["holds"] is True for each in one["checks"])


def _rounds(report: Mapping[str, Any]) -> str:
    names = ("Clients", "Transactions only there", "Largest", "From start to known")
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = "".join(_round(one) for one in report["rounds"])
    return (
        f'<h2>Rounds</h2><table class="rounds"><thead><tr><th></th><th>Round</th>{head}<th>How it came back</th></tr>'
        "</thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _round(one: Mapping[str, Any]) -> str:
    facts = one["facts"]
    style, sign, _word = page.MARKS[good(one)]
    largest = facts.get("largest")
    back = facts.get("back_in")
    cells = (
        number(facts.get("asked")),
        number(facts.get("waited")),
        "&ndash;"
        if not largest
        else f"{number(largest / 1048576)} MiB"
        if largest >= 1 << 20
        else f"{number(largest)} B",
        "&ndash;" if back is None else page.duration(back * 1000),
    )
    return (
        f'<tr class="{"" if good(one) else "bad"}"><td class="mark {style}"><i>{sign}</i></td>'
        f"<td><b>{text(one['case'].replace('_', ' '))}</b><span class=about>{text(one['said'])}</span></td>"
        + "".join(f'<td class="number">{cell}</td>' for cell in cells)
        + f"<td>{text(facts.get('state'))}<span class=about>{text(facts.get('detail'))}</span></td></tr>"
    )


def _details(report: Mapping[str, Any]) -> str:
    return "<h2>Evidence</h2>" + "".join(_detail(one) for one in report["rounds"])


def _detail(one: Mapping[str, Any]) -> str:
    facts = one["facts"]
    rows = "".join(check(each["holds"], each["name"], each["said"]) for each in one["checks"])
    journal = "\n".join(facts.get("journal") or [])
    where = f"{text(facts.get('old'))} &rarr; {text(facts.get('new'))}; archived in {text(facts.get('archive'))}"
    return (
        f"<details><summary>{text(one['case'].replace('_', ' '))}</summary><p>{where}</p>"
        f'<table class="checks"><tbody>{rows}</tbody></table><pre>{text(journal)}</pre></details>'
    )
