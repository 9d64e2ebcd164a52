"""The style sheet of a report: a quiet page on any screen, light or dark, and on paper."""

STYLE = """
:root { color-scheme: light dark;
  --page: #fff; --ink: #1f2933; --quiet: #52606d; --line: #e4e7eb; --strong: #1f2933;
  --good: #0b6e4f; --bad: #b42318; --warn: #fff7e6; --warn-edge: #d9920a; --card: #fff;
  --panel: #f6f8fa; }
@media screen and (prefers-color-scheme: dark) { :root {
  --page: #14181d; --ink: #e3e8ee; --quiet: #a3adb8; --line: #39424d; --strong: #e3e8ee;
  --good: #5cc9a0; --bad: #ff8a7d; --warn: #33291a; --warn-edge: #c58b2a; --card: #f4f6f8;
  --panel: #1c2229; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.2rem 1.4rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .7rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p, li { overflow-wrap: anywhere; }
.question { font-size: 1.12rem; color: var(--quiet); margin: 0 0 1rem; }
.answer { font-size: 1.2rem; margin: 0 0 1rem; }
ul { padding-left: 1.2rem; margin: .4rem 0; }
li { margin: .25rem 0; }
ul.warnings { list-style: none; padding: 0; }
ul.warnings li { background: var(--warn); border-left: 4px solid var(--warn-edge);
  padding: .45rem .8rem; margin: .4rem 0; }
.wide { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .34rem .5rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid var(--strong); }
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.nb { white-space: nowrap; }
.facts { width: 100%; }
.facts th { width: 15rem; font-weight: 600; white-space: normal; }
.facts td { text-align: left; overflow-wrap: anywhere; }
.facts tr + tr > * { border-top: 1px solid var(--line); }
.passed .outcome { color: var(--good); font-weight: 600; }
.failed .outcome { color: var(--bad); font-weight: 600; }
figure { margin: 1.4rem 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; background: var(--card);
  border-radius: 6px; }
.figures { display: grid; gap: 0 1.6rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.figures figure { margin: .6rem 0 1.2rem; min-width: 0; }
.figures figure img { width: 100% !important; max-width: 34rem; }
figcaption { color: var(--quiet); font-size: .88rem; margin-top: .3rem; }
.legend { color: var(--quiet); font-size: .85rem; }
.examples { display: grid; gap: .8rem; margin: .8rem 0 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.examples.texts { grid-template-columns: 1fr; }
.example { background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem .7rem; font-size: .82rem; overflow-wrap: anywhere; min-width: 0; }
.example img { width: 100%; max-height: 9rem; object-fit: contain; display: block;
  margin-bottom: .4rem; image-rendering: pixelated; background: #8a94a0; border-radius: 4px; }
.example .name { margin: 0 0 .3rem; line-height: 1.3; }
.example blockquote { margin: 0 0 .4rem; padding-left: .6rem; font-size: .9rem;
  border-left: 3px solid var(--line); }
.example dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; margin: 0; }
.example dt { color: var(--quiet); }
.example dd { margin: 0; }
.examples:not(.texts) dl.long { grid-template-columns: 1fr; }
pre { overflow-x: auto; background: var(--panel); padding: .6rem .8rem; border-radius: 6px;
  font-size: .82rem; }
@media (max-width: 40rem) {
  main { padding: 1.2rem .9rem 3rem; }
  figure img { width: 100% !important; }
  .facts th { width: 8rem; }
  tbody th { white-space: normal; min-width: 6rem; }
}
@page { size: auto; margin: 16mm 14mm; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 17pt; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 14pt; }
  .wide, pre { overflow: visible; white-space: pre-wrap; }
  .wide { white-space: normal; }
  table { font-size: 7.6pt; }
  th, td { padding: 2pt 4pt; }
  tr, figure, li, .example { break-inside: avoid; }
  figure { margin: 8pt 0 12pt; }
  thead { display: table-header-group; }
}
"""
