# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the page looks. Colours of the memory's parts are Okabe and Ito's, which colour-blind readers tell apart."""

from __future__ import annotations

import typing as t

# Fill and the ink of text on it. The same in light and in dark.
PARTS: t.Dict[str, t.Tuple[str, str]] = {
    "weights": ("#0072b2", "#ffffff"),
    "other": ("#56b4e9", "#0b1016"),
    "activation": ("#e69f00", "#0b1016"),
    "graphs": ("#cc79a7", "#0b1016"),
    "kv": ("#009e73", "#0b1016"),
}

LIGHT: t.Dict[str, str] = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "ink": "#171c23",
    "muted": "#555e6a",
    "line": "#d9dee4",
    "link": "#0b5a94",
    "held": "#7b8591",
    "free": "#e9edf1",
    "curve": "#00785a",
    "over": "#c2410c",
    "fits-ink": "#0b5d3b",
    "fits": "#dcf3e7",
    "tight-ink": "#6d4a00",
    "tight": "#fdefcb",
    "refused-ink": "#9a2206",
    "refused": "#fde4dc",
    "unknown-ink": "#454d58",
    "unknown": "#e6e9ed",
}
DARK: t.Dict[str, str] = {
    "page": "#0f1318",
    "card": "#171d24",
    "ink": "#e8ecf1",
    "muted": "#a3adb9",
    "line": "#323b46",
    "link": "#79c0f5",
    "held": "#6d7884",
    "free": "#262e37",
    "curve": "#2ecc9b",
    "over": "#ff8a5c",
    "fits-ink": "#7fe0b3",
    "fits": "#12372a",
    "tight-ink": "#f6cf74",
    "tight": "#3d2f0c",
    "refused-ink": "#ffb199",
    "refused": "#471d12",
    "unknown-ink": "#c3cbd5",
    "unknown": "#2a323c",
}
# Text, and what it stands on: the tests hold each pair to a contrast of 4.5.
PAIRS = (
    ("ink", "page"), ("ink", "card"), ("muted", "page"), ("muted", "card"), ("link", "card"), ("link", "page"),
    ("fits-ink", "fits"), ("tight-ink", "tight"), ("refused-ink", "refused"), ("unknown-ink", "unknown"),
    ("over", "card"), ("ink", "refused"), ("ink", "tight"),
)  # fmt: skip


def _variables(colours: t.Mapping[str, str]) -> str:
    return "".join("--%s:%s;" % item for item in colours.items())


def css() -> str:
    parts = "".join(
        ".p-%s{fill:%s}.t-%s{fill:%s}.s-%s{background:%s}" % (name, fill, name, ink, name, fill)
        for name, (fill, ink) in PARTS.items()
    )
    return _CSS.replace("/*light*/", _variables(LIGHT)).replace("/*dark*/", _variables(DARK)) + parts


_CSS = """
:root{color-scheme:light dark;/*light*/}
@media (prefers-color-scheme:dark){:root{/*dark*/}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 6px}
h2{font-size:20px;line-height:1.3;letter-spacing:-.01em;margin:40px 0 4px;overflow-wrap:anywhere}
h3{font-size:16px;margin:0;overflow-wrap:anywhere}
h4{font-size:13px;font-weight:600;margin:0 0 8px}
p{margin:0 0 8px}
a{color:var(--link)}
.muted,caption,figcaption{color:var(--muted)}
.tally{display:flex;flex-wrap:wrap;gap:8px;margin:16px 0 0;padding:0;list-style:none}
.badge{display:inline-block;padding:1px 10px;border-radius:11px;font-size:13px;font-weight:600;white-space:nowrap}
.badge.fits{background:var(--fits);color:var(--fits-ink)}
.badge.tight{background:var(--tight);color:var(--tight-ink)}
.badge.refused{background:var(--refused);color:var(--refused-ink)}
.badge.unknown{background:var(--unknown);color:var(--unknown-ink)}
.badge a{color:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:7px 10px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{font-size:12px;line-height:1.35;font-weight:600;color:var(--muted);vertical-align:bottom}
tbody th{font-weight:600}
tbody:last-child>tr:last-child>*{border-bottom:0}
td.n{white-space:nowrap}.n,thead th.n{text-align:right}
.nowrap{white-space:nowrap}
.overview{background:var(--card);border:1px solid var(--line);border-radius:10px;margin-top:20px;font-size:14px}
.overview th[scope=row]{min-width:136px;overflow-wrap:anywhere}
.overview .why{min-width:230px;font-size:13px;color:var(--muted)}
.overview .gpus{min-width:96px}
.overview .try{display:block;color:var(--ink)}
.overview .group th{padding-top:16px;font-size:15px;white-space:normal;overflow-wrap:anywhere;color:var(--ink)}
.overview tbody+tbody .group th{border-top:1px solid var(--line)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:14px 0;break-inside:avoid}
.card>summary{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;padding:14px 18px;cursor:pointer;
list-style:none}
.card>summary::-webkit-details-marker{display:none}
.card>summary::before{content:"";width:0;height:0;border:5px solid transparent;border-left:6px solid var(--muted);
border-right:0;align-self:center}
.card[open]>summary::before{transform:rotate(90deg)}
.card>summary .badge{margin-left:auto}
.body{padding:2px 18px 16px;scroll-margin-top:70px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(122px,1fr));gap:10px 18px;margin:0 0 20px}
.facts dt{font-size:12px;color:var(--muted)}
.facts dd{margin:0;font-size:17px;font-weight:600;line-height:1.35}
.facts small{display:block;font-size:12px;font-weight:400;color:var(--muted)}
.two{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:20px 36px;align-items:start}
.two.one{grid-template-columns:minmax(0,1fr)}.two.one .legend{max-width:560px}
figure{margin:0 0 14px}
svg{display:block;width:100%;overflow:visible}
.bar{height:34px}
.bar rect{stroke:var(--card);stroke-width:1.5}
.bar text{font-size:11.5px;font-weight:600}
.bar .end{stroke:var(--over);stroke-width:2.5}
.p-free{fill:var(--free)}.s-free{background:var(--free);box-shadow:inset 0 0 0 1px var(--muted)}
.p-held,.p-system{fill:url(#held)}.s-held,.s-system{background:repeating-linear-gradient(45deg,var(--held) 0 3px,var(--card) 3px 5px);
box-shadow:inset 0 0 0 1px var(--held)}
.t-free{fill:var(--ink)}
.hatch{stroke:var(--held);stroke-width:6}.hatchback{fill:var(--card)}
.scale{display:flex;justify-content:space-between;font-size:12px;color:var(--muted);margin-top:3px}
.scale .over{color:var(--over);font-weight:600}
.legend{font-size:13px;margin-top:2px}
.legend th,.legend td{padding:3px 8px 3px 0;border-bottom:1px solid var(--line)}
.legend td:last-child,.legend th:last-child{padding-right:0}
.legend tbody th{font-weight:400}
.legend tbody th:has(.sw){padding-left:20px;text-indent:-20px}
.sw{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:8px;vertical-align:-1px}
.grid line{stroke:var(--line);stroke-width:1}
.curve text{font-size:11.5px;fill:var(--muted)}
.curve .label{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:4px;
stroke-linejoin:round}
.curve .halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.curve .exp{fill:none;stroke:var(--curve);stroke-width:2.4}
.curve .low{fill:none;stroke:var(--curve);stroke-width:1.6;stroke-dasharray:5 4}
.curve .band{fill:var(--curve);opacity:.16}
.curve .slots{stroke:var(--muted);stroke-width:1.4;stroke-dasharray:1.5 3.5}
.curve .here{stroke:var(--ink);stroke-width:1}
.curve .dot{fill:var(--card);stroke:var(--ink);stroke-width:2}
.curve .short{fill:var(--free);opacity:.55}
.key{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:12px;margin-top:4px}
.key svg{display:inline-block;width:24px;height:8px;vertical-align:middle;margin-right:6px}
.box{border-radius:8px;padding:12px 16px;margin:0 0 18px}
.box.refused{background:var(--refused)}.box.tight{background:var(--tight)}
.box h4{margin:8px 0 2px}.box ol,.box ul{margin:0;padding-left:22px}
.fold{border-top:1px solid var(--line);padding:8px 0}
.fold>summary{cursor:pointer;font-size:14px;font-weight:600}
.fold ul,.fold ol{margin:6px 0 4px;padding-left:22px;font-size:14px}
pre{margin:8px 0;padding:12px 14px;background:var(--page);border:1px solid var(--line);border-radius:8px;
overflow-x:auto;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em;
overflow-wrap:anywhere}
.inputs th{font-weight:600;width:200px;overflow-wrap:anywhere}
.inputs td{overflow-wrap:anywhere}
.card.list{padding:6px 8px}
footer{padding:28px 24px 48px;font-size:13px;color:var(--muted)}
.defs{position:absolute;width:0;height:0}
.vh{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media screen and (max-width:860px){.two{grid-template-columns:minmax(0,1fr)}}
@media screen and (max-width:760px){
main,header,footer{padding-left:14px;padding-right:14px}
header{padding-top:22px}h1{font-size:25px}
.bar text{display:none}.bar rect{stroke-width:.6}
.overview,.overview tbody,.overview tr,.overview th,.overview td{display:block;border:0;text-align:left}
.overview thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
.overview tr{padding:12px 14px;border-bottom:1px solid var(--line)}
.overview tr:last-child{border-bottom:0}
.overview th,.overview td{padding:1px 0}
.overview td[data-l]{display:grid;grid-template-columns:118px minmax(0,1fr);white-space:normal}
.overview td[data-l]>*{justify-self:start}
.overview td.none{display:none}
.overview td[data-l]::before{content:attr(data-l);color:var(--muted);font-size:12.5px}
.overview .why{min-width:0;padding-top:4px}
.body{padding:2px 14px 14px}.card>summary{padding:12px 14px}
.card>summary .badge{margin-left:0}
.facts{grid-template-columns:1fr 1fr}
.inputs th{width:104px}
}
@media screen and (max-width:480px){.curve text{font-size:16px}.key{flex-direction:column}}
@media print{
:root{color-scheme:light;/*light*/}
body{font-size:12px;background:none}h2,h2+p{break-after:avoid}
.overview{font-size:10.5px}.overview th,.overview td{padding:4px 5px;min-width:0!important}
.overview .why{font-size:10px}
.overview th[scope=row]{min-width:70px!important}
.curve text{font-size:15px}.overview .badge{font-size:10px;padding:0 6px}.facts dd{font-size:14px}
main,header,footer{max-width:none;padding-left:0;padding-right:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.overview,.card{break-inside:avoid}.overview tr{break-inside:avoid}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
}
"""
