"""The rounds as a page: report.json in, one self-contained HTML page out. Pure; the style is the single drill's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from drills.programs import page

text, number = page.text, page.number

STYLE = """
main{max-width:1180px}
table.rounds td,table.instants td{padding:.4rem .9rem .4rem 0}
table.rounds td.number,table.instants td.number,table.rounds th.number,table.instants th.number{white-space:nowrap}
tr.bad td{background:color-mix(in srgb,var(--bad) 7%,transparent)}
.about{color:var(--soft);font-size:.84rem;line-height:1.4;display:block}
"""


def render(report: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The whole page. ``titles``: of the checks, by name."""
    passed = report["verdict"] == "pass"
    body = (
        _header(report, passed)
        + _reasons(report, titles)
        + _numbers(report)
        + _checks(report, titles)
        + _instants(report)
        + _rounds(report)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{'pass' if passed else 'fail'}: two-phase commit</title>"
        f"<style>{page.STYLE}{STYLE}</style></head><body><main>{body}{_footer()}</main></body></html>\n"
    )


def _header(report: Mapping[str, Any], passed: bool) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report["began_at"]))
    held = sum(check["holds"] is True for check in report["checks"])
    mutant = f"<p><b>With a mutant: {text(report['mutant'])}.</b> It has to fail.</p>" if report["mutant"] else ""
    return (
        f'<header><div><div class="kicker">Drill, MySQL {text(report["server_version"])}, {text(when)}</div>'
        f"<h1>The two-phase commit, killed {number(report['rounds'])} times</h1><p>{text(report['description'])}.</p>"
        f"{mutant}"
        '<p class="soft">One server with the settings of the collection, eight clients, and a second server that gets '
        "nothing but the first one's binary log. Both go on from round to round. Seed "
        f"{text(report['seed'])}; load of the machine {text(report['conditions']['load'])}.</p></div>"
        f'<div class="verdict {"pass" if passed else "fail"}"><b>{"PASS" if passed else "FAIL"}</b>'
        f"<span>{held} of {len(report['checks'])} checks hold</span></div></header>"
    )


def _reasons(report: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    items = "".join(
        f"<li><b>{text(titles[one['name']])}.</b> {text(one['said'])}</li>"
        for one in report["checks"]
        if one["holds"] is not True
    )
    return f'<section class="reasons"><h3>Why it fails</h3><ul>{items}</ul></section>' if items else ""


def _numbers(report: Mapping[str, Any]) -> str:
    unknown = report["unknown_outcomes"]
    entries = (
        ("Transactions compared", number(report["transactions"]), f"in {number(report['rounds'])} rounds"),
        ("Torn tails cut by recovery", number(report["torn_tails"]), f"{number(report['torn_bytes'])} bytes"),
        ("Largest transaction", f"{number(report['largest_transaction'] / 1048576)} MiB", "in the binary log"),
        (
            "Prepared when killed",
            number(report["committed_by_recovery"] + report["rolled_back_by_recovery"]),
            f"{number(report['committed_by_recovery'])} committed by recovery,"
            f" {number(report['rolled_back_by_recovery'])} rolled back",
        ),
        ("Waited for an acknowledgement", number(report["waiting_commits"]), "in the binary log, so committed"),
        (
            "Outcome unknown to the client",
            number(unknown["there"] + unknown["absent"]),
            f"{number(unknown['there'])} are there, {number(unknown['absent'])} are not",
        ),
    )
    cells = "".join(
        f"<div><dt>{title}</dt><dd>{value}<small>{note}</small></dd></div>" for title, value, note in entries
    )
    return f'<dl class="numbers">{cells}</dl>'


def _checks(report: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    rows = ""
    for one in report["checks"]:
        style, sign, word = page.MARKS[one["holds"]]
        rows += (
            f'<tr><td class="mark {style}"><i>{sign}</i>{word}</td><td>{text(titles[one["name"]])}</td>'
            f"<td>{text(one['said'])}</td></tr>"
        )
    return f'<h2>Checks</h2><table class="checks"><tbody>{rows}</tbody></table>'


def _instants(report: Mapping[str, Any]) -> str:
    keys = ("rounds", "transactions", "torn", "committed", "rolled_back", "waiting")
    names = ("Rounds", "Transactions", "Torn tails", "Committed by recovery", "Rolled back", "Waited")
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = "".join(
        f"<tr><td><b>{text(one['aim'].replace('_', ' '))}</b><span class=about>{text(one['said'])}</span></td>"
        + "".join(f'<td class="number">{number(one[key])}</td>' for key in keys)
        + "</tr>"
        for one in report["instants"]
    )
    return (
        f'<h2>Instants by stage</h2><table class="instants"><thead><tr><th>Killed</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _rounds(report: Mapping[str, Any]) -> str:
    names = ("Transactions", "Torn bytes", "Committed", "Rolled back", "Waited", "Recovery", "Replay")
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = "".join(_round(one) for one in report["history"])
    return (
        '<details><summary>Every round</summary><table class="rounds"><thead><tr><th class="number">No.</th>'
        f"<th>Seed</th><th>Killed</th>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _round(one: Mapping[str, Any]) -> str:
    bad = any(one[key] for key in ("differences", "left_wrong", "beyond", "released"))
    seconds = one["seconds"]
    cells = (
        number(one["transactions"]),
        number(one["torn"]),
        number(one["committed"]),
        number(one["rolled_back"]),
        number(len(one["waiting"])),
        page.duration(seconds["recovery"] * 1000),
        page.duration(seconds["replay"] * 1000),
    )
    return (
        f'<tr class="{"bad" if bad else ""}"><td class="number">{number(one["number"])}</td>'
        f"<td>{text(one['seed'])}</td><td>{text(one['aim'].replace('_', ' '))}</td>"
        + "".join(f'<td class="number">{cell}</td>' for cell in cells)
        + "</tr>"
    )


def _footer() -> str:
    return (
        "<footer>Made from report.json alone. kill -9 takes the process and leaves what it had written to the kernel: "
        "this drill shows that binary log and engine agree after any instant, not that a disk keeps what it was told "
        "to. Counters of AUTO_INCREMENT are not compared: a rolled-back insert has used numbers up.</footer>"
    )
