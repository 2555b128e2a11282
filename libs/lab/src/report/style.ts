/** The style sheet of every report: colours by role, for light and dark. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #f6f5f1; --sheet: #ffffff; --ink: #1d2327; --soft: #59636b; --faint: #8a949b; --line: #e2e1db;
  --work: #2a7a6f; --work-soft: #d9ebe7; --stop: #b3372c; --stop-soft: #f7dfdb; --key: #a06d05; --key-soft: #f5e8cb; --fault: #e9d3b4; --fault-ink: #5a3d0a;
  --identity: #6b5bb5; --key-vault: #b07a0c; --disk-encryption-set: #c05a2b; --disk: #2a7a6f; --compute: #2f6db3; --rehearsal: #78828a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #12161a; --sheet: #1a2026; --ink: #e7ebee; --soft: #a6b1b9; --faint: #75818a; --line: #2c343b;
    --work: #4fb8a6; --work-soft: #1c3733; --stop: #ee7767; --stop-soft: #43231f; --key: #e0b04a; --key-soft: #3b2f15; --fault: #574120; --fault-ink: #f3dcae;
    --identity: #a294ea; --key-vault: #e0b04a; --disk-encryption-set: #f08d5c; --disk: #4fb8a6; --compute: #6ea9ec; --rehearsal: #98a3ab;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 6px 0 12px; max-width: 22em; text-wrap: balance; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 0 0 4px; }
p { margin: 0 0 12px; max-width: 72ch; color: var(--soft); }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 24px 26px; margin-top: 20px; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.86em; }
.brand { font-weight: 600; letter-spacing: 0.02em; color: var(--soft); }
.verdict { display: inline-block; padding: 3px 12px; border-radius: 999px; font-weight: 600; font-size: 14px; }
.pass { color: color-mix(in srgb, var(--work) 80%, var(--ink)); background: var(--work-soft); }
.fail { color: var(--stop); background: var(--stop-soft); }
.open { color: color-mix(in srgb, var(--key) 70%, var(--ink)); background: var(--key-soft); }
.subject { margin: 14px 0 0; font-weight: 600; color: var(--ink); } .nothing { border-color: var(--key); } section ul { margin: 4px 0 12px; padding-left: 20px; max-width: 76ch; color: var(--soft); } section li { margin: 2px 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin-top: 22px; }
.figure { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; }
.figure b { display: block; font-size: 25px; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.figure span:not(.verdict) { color: var(--soft); font-size: 13.5px; }
.scroll { overflow-x: auto; margin: 14px -4px 0; padding: 0 4px; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.wide svg { min-width: 860px; }
svg text { fill: var(--soft); }
svg .name { fill: var(--ink); font-weight: 600; font-size: 13px; }
svg .small { font-size: 11px; fill: var(--faint); }
svg .strong { fill: var(--ink); font-weight: 600; }
.lane { fill: var(--paper); }
.io { fill: var(--work); }
.bad { fill: var(--stop); }
.on { fill: var(--work); opacity: 0.38; } .off { fill: url(#off); }
.free { fill: url(#free); }
.away { fill: url(#away); }
.partly { fill: var(--stop); opacity: 0.28; }
.fault { fill: var(--fault); } svg .fault-label { font-size: 11px; fill: var(--fault-ink); paint-order: stroke; stroke: var(--sheet); stroke-width: 0; }
.grid { stroke: var(--line); }
.event-aside { stroke: var(--faint); stroke-dasharray: 3 3; } .fold { fill: var(--sheet); } .pause { fill: var(--identity); opacity: 0.2; }
.on-narrow { display: none; }
.event-loss { stroke: var(--stop); } .event-return { stroke: var(--work); } .event-change { stroke: var(--key); }
svg .label { paint-order: stroke; stroke: var(--sheet); stroke-width: 5px; stroke-linejoin: round; }
svg .label-loss { fill: var(--stop); font-weight: 600; } svg .label-return { fill: var(--work); font-weight: 600; } svg .label-change { fill: var(--key); font-weight: 600; } svg .label-aside { fill: var(--soft); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin-top: 10px; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(310px, 1fr)); gap: 26px; margin-top: 14px; }
.panels h3 { font-size: 15px; margin: 0; } .panels .sub { font-size: 13px; color: var(--soft); margin: 0 0 6px; }
table { border-collapse: collapse; width: 100%; margin-top: 12px; }
th { text-align: left; font-weight: 500; font-size: 12.5px; color: var(--faint); padding: 4px 10px 6px 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; padding: 9px 10px 9px 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--soft); }
.figures-table td { padding: 6px 12px 6px 0; vertical-align: baseline; } .figures-table th.num { text-align: right; padding-right: 12px; }
.figures-table { font-size: 13.5px; } .figures-table .group { text-align: right; padding-right: 12px; color: var(--soft); } .figures-table td:first-child { white-space: nowrap; color: var(--ink); }
.figures-table .tag { white-space: normal; overflow-wrap: anywhere; }
.note { font-size: 13px; margin: 12px 0 0; }
.rules td:first-child { white-space: nowrap; width: 1%; padding-right: 16px; }
.rules .evidence { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; margin-top: 2px; }
.rules .evidence summary { cursor: pointer; list-style: none; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }
.rules .evidence[open] summary { -webkit-line-clamp: none; }
.rules .title { font-weight: 500; }
.rules td:last-child { width: 1%; padding-right: 0; }
.verdicts td:last-child { width: auto; } .verdicts code { color: var(--soft); } .verdicts .error { color: var(--stop); }
.counts { line-height: 2; } .count { white-space: nowrap; margin-right: 10px; } td.num b { color: var(--ink); font-weight: 600; } td.num small { display: block; font-size: 11.5px; color: var(--faint); }
.tick { font-weight: 600; font-size: 13px; padding: 2px 9px; border-radius: 999px; white-space: nowrap; }
.rows { margin-top: 12px; font-size: 13px; }
.row { display: grid; grid-template-columns: minmax(280px, 40%) 1fr; gap: 12px; align-items: center; padding: 3px 0; border-bottom: 1px solid var(--line); }
.row:last-child { border-bottom: 0; }
.row .what { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row .what em { font-style: normal; color: var(--faint); margin-right: 8px; }
.track { position: relative; height: 18px; }
.track i { position: absolute; top: 4px; height: 10px; border-radius: 3px; min-width: 2px; }
.track span { position: absolute; top: 0; line-height: 18px; font-size: 11.5px; color: var(--faint); white-space: nowrap; font-variant-numeric: tabular-nums; padding: 0 6px; }
.tag { color: var(--faint); font-size: 11.5px; white-space: nowrap; }
.error { color: var(--stop); }
details > summary.more { cursor: pointer; color: var(--soft); margin-top: 14px; font-weight: 500; }
footer { margin-top: 26px; color: var(--faint); font-size: 13px; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .on-wide { display: none; } .on-narrow { display: block; } .wide svg { min-width: 0; }
  .stack thead { display: none; } .stack, .stack tbody { display: block; }
  .stack tr { display: grid; grid-template-columns: 1fr 1fr; gap: 1px 18px; padding: 9px 0; border-bottom: 1px solid var(--line); }
  .stack tr:last-child { border-bottom: 0; }
  .stack td, .stack td.num { display: flex; justify-content: space-between; gap: 8px; padding: 0; border: 0; white-space: normal; text-align: right; }
  .stack td.mono { overflow-wrap: anywhere; }
  .stack td:first-child, .stack td.all { grid-column: 1 / -1; text-align: left; color: var(--ink); font-weight: 600; }
  .stack td[data-label]::before { content: attr(data-label); color: var(--faint); font-weight: 400; text-align: left; white-space: nowrap; }
}
@media (max-width: 420px) { .stack tr { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 640px) { main { padding: 24px 14px 40px; } section { padding: 18px 16px; } h1 { font-size: 26px; } .row { grid-template-columns: 1fr; gap: 0; } }
@page { size: A4; margin: 12mm; }
@media print {
  * { print-color-adjust: exact; }
  body { background: none; font-size: 12px; } main { max-width: none; padding: 0; } h1 { font-size: 24px; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 14px 0; margin-top: 10px; } .wide svg { min-width: 0; }
  .scroll { overflow: visible; } .figures { grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); gap: 8px; margin-top: 12px; } .figure { padding: 8px 10px; } .figure b { font-size: 17px; } .figure span { font-size: 10.5px; }
  .figures-table, .rules .evidence, .legend, .note, .tick, th { font-size: 11px; } .figures-table td:first-child { white-space: normal; } td.num small, .tag { font-size: 10px; } .tag { white-space: normal; }
  p { max-width: none; } tr, .figure, .row, svg { break-inside: avoid; } h2 { break-after: avoid; }
}
`;
