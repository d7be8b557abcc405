# SPDX-License-Identifier: BSD-2-Clause
"""How the manager's page looks, its signs, and the few lines by which it renews itself.

The reader's light or dark setting is followed. Hues are Okabe and Ito's; each state has a shape and a word besides.
"""

from __future__ import annotations

STYLE = """
:root{--ink:#1b1f24;--soft:#59636e;--faint:#8a939d;--line:#d9dee3;--paper:#f4f6f8;--card:#fff;
--person:#b8430a;--acting:#00669f;--notice:#8a5a00;--quiet:#6a5a8c;--well:#00694f;
--person-wash:#fdf0e9;--acting-wash:#e9f3fa;--notice-wash:#fbf4e4;--quiet-wash:#f3f0f8;--p0:#0072b2;--p1:#9ec9e6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a4adb7;--faint:#78828d;--line:#2f363f;--paper:#121519;
--card:#1a1e24;--person:#f5935b;--acting:#6cbcf0;--notice:#e8b04a;--quiet:#b9a8de;--well:#45c39f;
--person-wash:#2c1d15;--acting-wash:#14242f;--notice-wash:#29220f;--quiet-wash:#221d2e;--p0:#56b4e9;--p1:#2c5f80}}
*{box-sizing:border-box}
html{font-size:15px}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.45;font-variant-numeric:tabular-nums;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif}
main{max-width:1320px;margin:0 auto;padding:1.4rem 1.6rem 4rem}
a{color:inherit;text-decoration-color:var(--faint);text-underline-offset:.18em}
a:hover{text-decoration-color:currentColor}
a:focus-visible,summary:focus-visible,input:focus-visible,button:focus-visible{outline:2px solid var(--acting);
outline-offset:2px;border-radius:3px}
h1{font-size:1.9rem;line-height:1.2;margin:.9rem 0 .7rem;font-weight:650;letter-spacing:-.015em}
h2{font-size:1.05rem;margin:2rem 0 .7rem;font-weight:650;display:flex;align-items:center;gap:.5rem}
h3{font-size:.95rem;margin:1.1rem 0 .4rem;font-weight:650;display:flex;align-items:center;gap:.45rem}
h4{font-size:.78rem;margin:.1rem 0 .15rem;font-weight:600;color:var(--soft)}
p{margin:.3rem 0;max-width:85ch}small{font-size:.8rem;color:var(--soft)}
.soft{color:var(--soft);font-weight:400}.empty{color:var(--soft);padding:.6rem 0}
code{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em;
overflow-wrap:anywhere}
time,.since{white-space:nowrap}
nav+header{margin-bottom:1rem}
nav{font-size:.9rem;margin-bottom:.6rem}
.sign{width:1.05em;height:1.05em;flex:none;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;
stroke-linejoin:round;vertical-align:-.14em}
.sign.person,.totals .person b,.card.person>header b{color:var(--person)}
.sign.acting,.card.acting>header b{color:var(--acting)}
.sign.notice,.card.notice>header b{color:var(--notice)}
.sign.quiet,.card.quiet>header b{color:var(--quiet)}
.sign.well,.card.well>header b{color:var(--well)}
svg.signs{position:absolute}
#silent{position:sticky;top:0;z-index:2;margin:0;max-width:none;padding:.7rem 1.6rem;background:var(--person);
color:var(--card);font-weight:600}
#silent[hidden]{display:none}
.about{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.2rem 2rem;color:var(--soft);font-size:.86rem}
.about b{font-weight:600;color:var(--ink)}
.totals{list-style:none;display:flex;flex-wrap:wrap;gap:.5rem;margin:0;padding:0}
.totals li{display:flex;align-items:center;gap:.4rem;background:var(--card);border:1px solid var(--line);
border-radius:999px;padding:.28rem .85rem;font-size:.9rem}
.totals li b{font-weight:650}.totals li.nil{color:var(--faint)}.totals li.nil .sign{color:var(--faint)}
.totals li.nil b{color:var(--faint)}
.note{display:flex;gap:.6rem;align-items:center;margin:.9rem 0 0;padding:.6rem .9rem;border-radius:8px;max-width:none;
background:var(--person-wash);border:1px solid var(--person)}
.note.quiet{background:var(--quiet-wash);border-color:var(--quiet)}
form{margin:1.3rem 0 0;font-size:.9rem;color:var(--soft)}
input,button{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:6px;
padding:.3rem .6rem}
button{cursor:pointer}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,580px),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--faint);border-radius:8px;
padding:.9rem 1.1rem 1rem;min-width:0}
.card.person{border-left-color:var(--person)}.card.acting{border-left-color:var(--acting)}
.card.notice{border-left-color:var(--notice)}.card.quiet{border-left-color:var(--quiet)}
.card.well{border-left-color:var(--well)}
.card>header{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:center;gap:.1rem .9rem}
.card>header h3{margin:0;font-size:1.1rem;overflow-wrap:anywhere;align-items:center}
.card>header h3 a{text-decoration:none}.card>header h3 a:hover{text-decoration:underline}
.card>header p{margin:0;font-size:.9rem;grid-column:1/-1}
.card>header dl{display:flex;gap:.9rem;margin:0;font-size:.84rem}
.card>header dl div{display:flex;gap:.3rem}.card>header dt{color:var(--soft)}.card>header dd{margin:0;font-weight:600}
.reasons{margin:.6rem 0 0;padding:.6rem .9rem;border-radius:6px;background:var(--paper);display:grid;gap:.5rem}
.card.person .reasons{background:var(--person-wash)}.card.acting .reasons{background:var(--acting-wash)}
.card.notice .reasons{background:var(--notice-wash)}.card.quiet .reasons{background:var(--quiet-wash)}
.reasons ul,details ul{margin:0;padding-left:1.05rem}.reasons li{overflow-wrap:anywhere}
.reasons ul.plain{list-style:none;padding:0}.reasons p{margin:0}
.reasons li::marker{color:var(--faint)}
.topology{display:grid;max-width:760px;grid-template-columns:minmax(9rem,1fr) minmax(0,2fr);align-items:center;
margin:.9rem 0 0}
.topology>p{padding-left:1.2rem}
.node{border:1px solid var(--line);border-radius:6px;padding:.42rem .7rem;min-width:0;background:var(--card)}
.node b{display:flex;align-items:center;gap:.4rem;font-weight:600;overflow-wrap:anywhere}
.node small{display:block;line-height:1.35;overflow-wrap:anywhere}
.node.primary{border:2px solid var(--ink)}.node.gone{border-style:dashed;border-color:var(--person)}
.node.primary small:first-of-type span{color:var(--ink);font-weight:600}
.node .message{color:var(--person)}
.replicas{list-style:none;margin:0;padding:0;display:grid;gap:.45rem;position:relative}
.replicas li{display:grid;grid-template-columns:6.6rem minmax(0,1fr);align-items:center;position:relative}
.replicas li::before{content:"";position:absolute;left:.9rem;top:-.3rem;bottom:-.3rem;
border-left:2px solid var(--faint)}
.replicas li:first-child::before{top:50%}.replicas li:last-child::before{bottom:50%}
.replicas li:only-child::before{display:none}
.replicas::before{content:"";position:absolute;left:0;top:calc(50% - 1px);width:.9rem;border-top:2px solid var(--faint)}
.wire{position:relative;align-self:stretch;display:flex;align-items:center;justify-content:center;padding-left:.9rem}
.wire i{position:absolute;left:.9rem;right:0;top:calc(50% - 1px);border-top:2px solid var(--faint)}
.wire small{position:relative;background:var(--card);padding:0 .25rem;font-size:.74rem;
line-height:1.15;text-align:center}
.wire.on i{border-top-color:var(--well)}
.wire.trying i{border-top-style:dashed;border-top-color:var(--notice)}.wire.trying small{color:var(--notice)}
.wire.off i,.wire.astray i{border-top-style:dotted;border-top-color:var(--person)}
.wire.off small,.wire.astray small{color:var(--person);font-weight:600}
.wire.none i{border-top-style:dotted}
.last{font-size:.84rem;margin:.7rem 0 0}
.tiles{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(138px,1fr));
gap:.35rem}
.tiles a{display:grid;grid-template-columns:auto minmax(0,1fr);gap:0 .4rem;align-items:center;text-decoration:none;
background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.3rem .55rem}
.tiles a:hover{border-color:var(--soft)}
.tiles b{font-weight:550;font-size:.88rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.tiles small{grid-column:2;display:flex;justify-content:space-between;gap:.5rem;font-size:.74rem;line-height:1.3}
.tiles small span:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.tiles li.person a{border-color:var(--person);background:var(--person-wash)}
.tiles li.acting a{border-color:var(--acting);background:var(--acting-wash)}
.tiles li.notice a{background:var(--notice-wash)}.tiles li.quiet a{background:var(--quiet-wash)}
.tiles li.person,.tiles li.acting,.tiles li.notice,.tiles li.quiet{grid-column:span 2}
.explained{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.2rem 1.1rem .9rem;
margin-top:1rem}
.explained h2{margin-top:.9rem}.explained ol,.explained ul{margin:.2rem 0;padding-left:1.3rem}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.1rem 1.1rem}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:.5rem 1rem .5rem 0;border-bottom:1px solid var(--line)}
tbody tr:last-child td{border-bottom:0}
th{font-weight:600;color:var(--soft);font-size:.8rem;white-space:nowrap}
td small{display:block;line-height:1.35}td.number,th.number{text-align:right}
td.move{white-space:nowrap}td.outcome{min-width:15rem;max-width:30rem}td.outcome>.sign{margin-right:.4rem}td.outcome>b{font-weight:600}
details summary{cursor:pointer;color:var(--soft);font-size:.8rem}
details h4{margin-top:.5rem}details p{overflow-wrap:anywhere}
svg.phases{display:block;width:160px;height:10px;margin:.3rem 0 .15rem}
.p0{fill:var(--p0)}.p1{fill:var(--p1)}
@media (max-width:700px){main{padding:1rem .8rem 3rem}.topology{grid-template-columns:1fr;gap:.45rem}
.replicas::before{display:none}.replicas li:first-child::before{top:-.45rem}}
@media print{:root{--paper:#fff}.card,tr{break-inside:avoid}form,nav{display:none}}
"""

# A shape for each state, so that none is told by its colour alone.
_SHAPES = {
    "person": '<path d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3zM5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6"/>',
    "acting": '<circle cx="8" cy="8" r="6.5"/><path d="M6.3 4.9v6.2L11.4 8z"/>',
    "notice": '<path d="M8 1.8L15 14H1z"/><path d="M8 6.2v3.6M8 11.8v.2"/>',
    "quiet": '<circle cx="8" cy="8" r="6.5"/><path d="M6.2 5.4v5.2M9.8 5.4v5.2"/>',
    "well": '<circle cx="8" cy="8" r="6.5"/><path d="M5 8.3l2.1 2.1L11.2 6"/>',
}
SIGNS = (
    '<svg class="signs" width="0" height="0" aria-hidden="true"><defs>'
    + "".join(f'<symbol id="{name}" viewBox="0 0 16 16">{shape}</symbol>' for name, shape in _SHAPES.items())
    + "</defs></svg>"
)

SCRIPT = """
(function(){
var every=5000,last=Date.now(),busy=false,failed=false,silent=document.getElementById("silent");
function reading(){var at=document.activeElement;
return (at&&at.id==="find"&&at.value!==at.defaultValue)||String(window.getSelection())!==""}
function tell(){var old=Math.round((Date.now()-last)/1000);silent.hidden=old<15;
silent.textContent="This page is "+old+" s old: "+(failed?"the manager does not answer."
:"it is not renewed while text is selected or typed.")}
function put(html){
var fresh=new DOMParser().parseFromString(html,"text/html"),page=fresh.getElementById("page"),was={};
if(!page)throw new Error("not the page");
document.querySelectorAll("details[data-key]").forEach(function(d){was[d.dataset.key]=d.open});
page.querySelectorAll("details[data-key]").forEach(function(d){if(d.dataset.key in was)d.open=was[d.dataset.key]});
document.getElementById("page").replaceWith(page);document.title=fresh.title;last=Date.now();failed=false}
function renew(){
if(busy||document.hidden)return;
if(reading()){tell();return}
busy=true;
fetch(location.href,{cache:"no-store",signal:AbortSignal.timeout(every)})
.then(function(answer){return answer.text()}).then(put)
.catch(function(){failed=true}).finally(function(){busy=false;tell()})}
setInterval(renew,every);
document.addEventListener("visibilitychange",renew);
})();
"""
