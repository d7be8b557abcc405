"""The rounds as a page: report.json in, one self-contained HTML page out. Pure; the frame is that of the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drills.comeback import page as frame
from drills.programs import page

text, number = page.text, page.number
_HEADLINE = "Is the replica really the same?"
_FOOTER = (
    "Made from report.json alone. Planted: with sql_log_bin off, on the first replica; nothing is done to the other."
    " Whole tables are compared by the collection's own account, through TLS, in the place of the control host, while"
    " clients write to the primary. A row counts as found with its exact key, kind and columns."
)


def render(report: Mapping[str, Any]) -> str:
    return frame.document(report, _HEADLINE, _rounds(report) + _details(report), _FOOTER)


def _rounds(report: Mapping[str, Any]) -> str:
    names = ("Planted", "Found", "Comparisons", "Seconds", "Rows", "One by one", "Turns of writers")
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = "".join(_round(one) for one in report["rounds"])
    return (
        f'<h2>Cases</h2><table class="rounds"><thead><tr><th></th><th>Case</th>{head}<th>Verdicts</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _round(one: Mapping[str, Any]) -> str:
    facts = one["facts"]
    style, sign, _word = page.MARKS[frame.good(one)]
    names = ("planted", "found", "comparisons", "compared_in", "rows", "rechecked", "writes")
    cells = "".join(f'<td class="number">{number(facts.get(name))}</td>' for name in names)
    verdicts = ", ".join(
        f"{count} {verdict.replace('_', ' ')}" for verdict, count in sorted(facts.get("verdicts", {}).items())
    )
    return (
        f'<tr class="{"" if frame.good(one) else "bad"}"><td class="mark {style}"><i>{sign}</i></td>'
        f"<td><b>{text(one['case'].replace('_', ' '))}</b><span class=about>{text(one['said'])}</span></td>"
        f"{cells}<td>{text(verdicts)}</td></tr>"
    )


def _details(report: Mapping[str, Any]) -> str:
    return "<h2>Evidence</h2>" + "".join(_detail(one) for one in report["rounds"])


def _detail(one: Mapping[str, Any]) -> str:
    facts = one["facts"]
    checks = "".join(frame.check(each["holds"], each["name"], each["said"]) for each in one["checks"])
    plants = "".join(frame.check(each["found"], each["name"], each["identity"]) for each in facts.get("plants", ()))
    said = "\n".join(
        f"{each['table']} on {each['replica']}, {each['mode']}: {each['verdict']} {each['code']}: {each['why']}"
        for each in facts.get("notable", ())
    )
    hot = facts.get("hot")
    figures = f"<pre>{text(', '.join(f'{name}: {value}' for name, value in hot.items()))}</pre>" if hot else ""
    where = f"planted on {facts['replica']}; primary {facts['primary']}" if facts.get("replica") else ""
    return (
        f"<details><summary>{text(one['case'].replace('_', ' '))}</summary><p>{text(where)}</p>"
        f'<table class="checks"><tbody>{checks}</tbody></table>{figures}'
        f'<table class="checks"><tbody>{plants}</tbody></table><pre>{text(said)}</pre></details>'
    )
