# SPDX-License-Identifier: BSD-2-Clause
"""How the page of a comparison looks, and its signs. The reader's light or dark setting is followed.

Hues are Okabe and Ito's, as on the manager's page; each verdict has a shape and a word besides.
"""

from __future__ import annotations

from . import findings

STYLE = """
:root{--ink:#1b1f24;--soft:#59636e;--faint:#8a939d;--line:#d9dee3;--paper:#f4f6f8;--card:#fff;
--bad:#b8430a;--notice:#8a5a00;--quiet:#6a5a8c;--well:#00694f;--link:#00669f;
--bad-wash:#fdf0e9;--notice-wash:#fbf4e4;--quiet-wash:#f3f0f8;--well-wash:#e8f5f0;--mark:#ffd9a8;--bar:#9ec9e6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a4adb7;--faint:#78828d;--line:#2f363f;--paper:#121519;
--card:#1a1e24;--bad:#f5935b;--notice:#e8b04a;--quiet:#b9a8de;--well:#45c39f;--link:#6cbcf0;
--bad-wash:#2c1d15;--notice-wash:#29220f;--quiet-wash:#221d2e;--well-wash:#12261f;--mark:#6b3d12;--bar:#2c5f80}}
*{box-sizing:border-box}
html{font-size:15px}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.45;font-variant-numeric:tabular-nums;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:1.4rem 1.6rem 4rem}
a{color:inherit;text-decoration-color:var(--faint);text-underline-offset:.18em}
a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
h1{font-size:1.6rem;line-height:1.22;margin:0;font-weight:650;letter-spacing:-.015em;max-width:58ch;
overflow-wrap:anywhere}
h2{font-size:1.12rem;margin:2.4rem 0 .7rem;font-weight:650;display:flex;align-items:center;gap:.5rem}
h3{font-size:1.02rem;margin:0;font-weight:650;overflow-wrap:anywhere}
p{margin:.3rem 0;max-width:85ch;overflow-wrap:anywhere}small{font-size:.8rem;color:var(--soft)}
.soft{color:var(--soft);font-weight:400}
code,.value,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.87em}
code{overflow-wrap:anywhere}
.sign{width:1.05em;height:1.05em;flex:none;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;
stroke-linejoin:round;vertical-align:-.14em}
svg.signs{position:absolute}
.bad{color:var(--bad)}.notice{color:var(--notice)}.quiet{color:var(--quiet)}.well{color:var(--well)}
.word{font-weight:650;white-space:nowrap}
.about{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.2rem 2rem;color:var(--soft);font-size:.86rem;
margin-bottom:.9rem}
.about b{font-weight:600;color:var(--ink)}
.verdict{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3rem 1.1rem;align-items:center;
border:1px solid var(--line);border-left:6px solid var(--faint);border-radius:10px;padding:1.1rem 1.4rem;
background:var(--card)}
.verdict>.sign{width:3rem;height:3rem;stroke-width:1.2}
.verdict p{grid-column:2;margin:.1rem 0 0;color:var(--ink)}
.verdict .word{font-size:.92rem;letter-spacing:.02em}
.verdict.bad{border-left-color:var(--bad);background:var(--bad-wash)}
.verdict.notice{border-left-color:var(--notice);background:var(--notice-wash)}
.verdict.quiet{border-left-color:var(--quiet);background:var(--quiet-wash)}
.verdict.well{border-left-color:var(--well);background:var(--well-wash)}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:1px;background:var(--line);
border:1px solid var(--line);border-radius:8px;overflow:hidden;margin:1rem 0 0}
.numbers div{background:var(--card);padding:.6rem .9rem}
.numbers dt{font-size:.78rem;color:var(--soft)}.numbers dd{margin:0;font-size:1.25rem;font-weight:600;line-height:1.25}
.chips{list-style:none;display:flex;flex-wrap:wrap;gap:.5rem;margin:.9rem 0 0;padding:0}
.chips li{display:flex;align-items:center;gap:.4rem;background:var(--card);border:1px solid var(--line);
border-radius:999px;padding:.25rem .8rem;font-size:.88rem}
.chips b{font-weight:650;color:var(--ink)}.chips .text{color:var(--ink)}
.chips .nil,.chips .nil b,.chips .nil .text,.chips .nil .sign{color:var(--faint)}
.card{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--faint);border-radius:8px;
padding:.85rem 1.1rem 1rem;margin:0 0 1rem;min-width:0}
.card.bad{border-left-color:var(--bad)}.card.notice{border-left-color:var(--notice)}
.card.quiet{border-left-color:var(--quiet)}
.card,.verdict{color:var(--ink)}
.card>header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.15rem .9rem;justify-content:space-between}
.card>header h3 .on{font-weight:400;color:var(--soft)}
.card .why{margin:.35rem 0 0}
.next{margin:.45rem 0 0;padding:.45rem .8rem;border-radius:6px;background:var(--paper)}
.next b{font-weight:600}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.1rem 1.1rem}
.card .wide{border:0;padding:0;margin-top:.7rem}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:.42rem 1rem .42rem 0;border-bottom:1px solid var(--line)}
tbody:last-child tr:last-child td{border-bottom:0}
th{font-weight:600;color:var(--soft);font-size:.8rem;white-space:nowrap}
td.number,th.number{text-align:right;white-space:nowrap}
td.key,td.side{overflow-wrap:anywhere;min-width:7rem}td.side{width:30%}
td.kind{white-space:nowrap}
tr.first td{border-top:1px solid var(--line)}
.images tbody td{border-bottom:0;padding-top:.28rem;padding-bottom:.28rem}
.images tbody tr:first-child td{border-top:1px solid var(--line)}
.images thead th{border-bottom:0}
.value{white-space:pre-wrap;overflow-wrap:anywhere}
.value mark{background:var(--mark);color:inherit;border-radius:2px;padding:.05em 0;box-shadow:0 0 0 1px var(--notice)}
.value i{font-style:normal;color:var(--quiet)}
.null{font-size:.8rem;color:var(--quiet);font-weight:600;letter-spacing:.04em}
.absent{color:var(--soft);font-style:italic}
.pair{display:inline-block;margin:0 .9rem .1rem 0}.pair>span:first-child{color:var(--soft);margin-right:.35em}
.bar{display:inline-block;width:70px;height:8px;border-radius:4px;border:1px solid var(--faint);overflow:hidden;
vertical-align:.05em;margin-right:.45em}
.bar rect{fill:var(--bar)}td.covered,td.tally{white-space:nowrap}
pre{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:.7rem .8rem;white-space:pre-wrap;
overflow-wrap:anywhere;margin:.4rem 0 0}
details>summary{cursor:pointer;color:var(--soft);font-size:.86rem;margin-top:.5rem}
ul.plain{list-style:none;margin:.2rem 0;padding:0;columns:20rem;column-gap:2rem;font-size:.88rem}
ul.plain li{break-inside:avoid;overflow-wrap:anywhere;padding:.1rem 0}
footer{margin-top:2.6rem;padding-top:.9rem;border-top:1px solid var(--line);font-size:.82rem;color:var(--soft)}
@media (max-width:700px){main{padding:1rem .8rem 3rem}.verdict{padding:.9rem}.verdict>.sign{width:2rem;height:2rem}
h1{font-size:1.35rem}}
@media print{:root{--paper:#fff}.card,tr{break-inside:avoid}details:not([open])>summary{list-style:none}}
"""

BAD, NOTICE, QUIET, WELL = "bad", "notice", "quiet", "well"
TONES = {
    findings.PASS: WELL,
    findings.SKIPPED: QUIET,
    findings.LAGGING: NOTICE,
    findings.UNSTABLE: NOTICE,
    findings.ERROR: BAD,
    findings.SCHEMA_DIFFERS: BAD,
    findings.DIFFERENT: BAD,
}
"""Colours. A verdict that is not here is told as ``error``."""

# A shape for each verdict, so that none is told by its colour alone.
_SHAPES = {
    findings.PASS: '<circle cx="8" cy="8" r="6.5"/><path d="M5 8.3l2.1 2.1L11.2 6"/>',
    findings.SKIPPED: '<circle cx="8" cy="8" r="6.5"/><path d="M5 8h6"/>',
    findings.LAGGING: '<circle cx="8" cy="8" r="6.5"/><path d="M8 4.3V8l2.6 1.6"/>',
    findings.UNSTABLE: '<path d="M1.5 6c2.2-3 4.3-3 6.5 0s4.3 3 6.5 0M1.5 11c2.2-3 4.3-3 6.5 0s4.3 3 6.5 0"/>',
    findings.ERROR: '<path d="M8 1.8L15 14H1z"/><path d="M8 6.2v3.6M8 11.8v.2"/>',
    findings.SCHEMA_DIFFERS: '<rect x="1.5" y="1.5" width="8.5" height="8.5"/><path d="M12.5 6h2v8.5H6v-2"/>',
    findings.DIFFERENT: (
        '<path d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z"/><path d="M5 6.4h6M5 9.6h6M9.6 4.4L6.4 11.6"/>'
    ),
}
SIGNS = (
    '<svg class="signs" width="0" height="0" aria-hidden="true"><defs>'
    + "".join(f'<symbol id="{name}" viewBox="0 0 16 16">{shape}</symbol>' for name, shape in _SHAPES.items())
    + "</defs></svg>"
)
