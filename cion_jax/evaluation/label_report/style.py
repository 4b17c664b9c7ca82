"""The looks of the page: one style sheet for light and dark, no fonts or files from elsewhere."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #22272e; --faint: #5f6874; --rule: #e3e6ea; --base: #b3bac3;
  --accent: #0072b2; --second: #c65102; --third: #00805d; --ghost: #9aa3ae;
  --bad: #cf3030; --warn-paper: #fff4e0; --warn-rule: #e69f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --panel: #1d2229; --ink: #e8ebef; --faint: #9aa5b1; --rule: #2d343d; --base: #56606b;
    --accent: #56b4e9; --second: #f0894a; --third: #35c49a; --ghost: #7d8894;
    --bad: #ff6b6b; --warn-paper: #33270f; --warn-rule: #e69f00;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 28px 80px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 52px 0 4px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 6px 0; max-width: 76ch; }
.faint, figcaption, .note { color: var(--faint); }
nav { margin: 18px 0 0; font-size: 14px; display: flex; flex-wrap: wrap; gap: 4px 18px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 22px 0 14px; }
.figure { background: var(--panel); border-radius: 10px; padding: 13px 16px 11px; }
.figure b { display: block; font-size: 28px; line-height: 1.15; font-weight: 650; letter-spacing: -.01em; }
.figure span { font-size: 13px; color: var(--faint); }
.share { display: flex; height: 14px; border-radius: 7px; overflow: hidden; gap: 2px; margin: 18px 0 6px; }
.share i { display: block; min-width: 2px; }
.share + .legend { margin-bottom: 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 20px; font-size: 13px; color: var(--faint); }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }
.c0 { background: var(--accent); } .c1 { background: var(--third); } .c2 { background: var(--ghost); }
.warning { background: var(--warn-paper); border-left: 4px solid var(--warn-rule); border-radius: 6px;
  padding: 10px 16px; margin: 12px 0 16px; }
.warning b { margin-right: 6px; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-weight: 500; color: var(--faint); font-size: 13px; text-align: right; vertical-align: bottom;
  padding: 4px 12px; border-bottom: 1px solid var(--base); }
td, th[scope="row"] { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th[scope="row"] { color: inherit; font-size: inherit; font-weight: inherit; }
th:first-child { text-align: left; padding-left: 0; }
section > .scroll tr:last-child > * { font-weight: 600; }
details { font-size: 13.5px; margin-top: 6px; } summary { color: var(--accent); cursor: pointer; }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--accent); margin: 3px 0 0 auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 34px 36px;
  margin-top: 18px; }
figure { margin: 0; } figure .legend { margin: 4px 0 6px; } figcaption { font-size: 13.5px; margin-top: 4px; }
svg { display: block; width: 100%; height: auto; overflow: visible; font: 12px system-ui, "DejaVu Sans", sans-serif; }
.grid { stroke: var(--rule); } .base { stroke: var(--base); }
.tick, .axis { fill: var(--faint); } .value { fill: var(--ink); text-anchor: middle; }
.s0 path { fill: var(--ghost); fill-opacity: .38; stroke: var(--ghost); stroke-width: 1.2; }
.s1 path { fill: var(--accent); fill-opacity: .42; stroke: var(--accent); stroke-width: 1.4; }
.threshold { stroke: var(--second); stroke-width: 1.6; stroke-dasharray: 5 4; }
.mark { fill: var(--second); font-weight: 600; }
.reach { fill: transparent; } .reach:hover { fill: var(--ink); fill-opacity: .07; }
.column { fill: var(--accent); } g:hover > .column { fill-opacity: .75; }
.line polyline { fill: none; stroke-width: 2.2; } .line circle { stroke: var(--paper); stroke-width: 1.5; }
.line text { font-weight: 600; font-size: 13px; }
.l0 polyline { stroke: var(--accent); } .l0 circle, .l0 text { fill: var(--accent); }
.l1 polyline { stroke: var(--second); } .l1 circle, .l1 text { fill: var(--second); }
.l2 polyline { stroke: var(--third); } .l2 circle, .l2 text { fill: var(--third); }
.k0 { background: var(--ghost); } .k1 { background: var(--accent); }
.strip { border-top: 1px solid var(--rule); padding: 12px 0 10px; }
.strip header { display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; margin-bottom: 8px; }
.strip .note { font-size: 13.5px; }
.cross { color: var(--bad); font-weight: 600; font-size: 13px; }
.groups { display: flex; flex-wrap: wrap; gap: 10px 18px; }
.group > span { display: block; font-size: 12px; color: var(--faint); margin-bottom: 3px; }
.tiles { display: flex; flex-wrap: wrap; gap: 4px; }
.tile { position: relative; display: inline-block; border-radius: 4px; overflow: hidden; background: var(--panel);
  line-height: 0; min-width: 30px; }
.tile img { display: block; }
.tile.none { width: 56px; height: 112px; border: 1px dashed var(--base); }
.tile.wrong { outline: 3px solid var(--bad); outline-offset: -3px; }
.tile.wrong::after { content: "\\2715"; position: absolute; top: 0; right: 0; width: 20px; height: 20px; color: #fff;
  background: var(--bad); font: 700 12px/20px sans-serif; text-align: center; border-bottom-left-radius: 4px; }
.tile small { display: block; line-height: 1.4; font-size: 11px; color: var(--faint); text-align: center;
  padding: 1px 3px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 22px; font-size: 14px; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 60px; font-size: 13px; color: var(--faint); border-top: 1px solid var(--rule); padding-top: 12px; }
@media (max-width: 560px) { main { padding: 22px 14px 60px; } .charts { grid-template-columns: 1fr; } }
@media print { .strip, figure { break-inside: avoid; } nav { display: none; } }
"""
