"""The style sheet of report.html: a quiet page on a screen, A4 or letter on paper."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1f2933;
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.2rem 1.4rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .7rem; padding-bottom: .3rem;
  border-bottom: 2px solid #e4e7eb; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
.question { font-size: 1.12rem; color: #52606d; margin: 0 0 1rem; }
ul { padding-left: 1.2rem; margin: .4rem 0; }
li { margin: .25rem 0; }
.wide { overflow-x: auto; margin: .8rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .34rem .5rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #1f2933; }
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr + tr > * { border-top: 1px solid #e4e7eb; }
.nb { white-space: nowrap; }
.facts { width: 100%; }
.facts th { width: 15rem; font-weight: 600; white-space: normal; }
.facts td { text-align: left; overflow-wrap: anywhere; }
.facts tr + tr > * { border-top: 1px solid #e4e7eb; }
.passed .outcome { color: #0b6e4f; font-weight: 600; }
.failed .outcome { color: #b42318; font-weight: 600; }
figure { margin: 1.4rem 0 2rem; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: #52606d; font-size: .88rem; margin-top: .3rem; }
.legend { color: #52606d; font-size: .85rem; }
@media (max-width: 40rem) { figure img { width: 100% !important; } .facts th { width: 9rem; } }
@page { size: auto; margin: 16mm 14mm; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 17pt; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 14pt; }
  .wide { overflow: visible; }
  table { font-size: 7.6pt; }
  th, td { padding: 2pt 4pt; }
  tr, figure, li { break-inside: avoid; }
  figure { margin: 8pt 0 12pt; }
  thead { display: table-header-group; }
}
"""
