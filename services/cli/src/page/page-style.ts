/** Rules of the live page, after those of the reports. */
export const pageStyle = `
main { max-width: min(1160px, 100%); }
@media (min-width: 2400px) { main, dialog { zoom: 1.6; } }
.bar { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; justify-content: space-between; }
.tick { display: inline-block; white-space: normal; }
.plain { color: var(--soft); background: var(--paper); border: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 4px; }
nav { display: flex; gap: 18px; }
a { color: var(--ink); } nav a { padding: 4px 0; }
button { font: inherit; font-size: 14px; color: var(--ink); background: var(--paper); border: 1px solid var(--faint); border-radius: 8px; padding: 4px 12px; cursor: pointer; }
button.name { font-weight: 600; background: none; border: 0; padding: 2px 0; text-decoration: underline; text-underline-offset: 3px; overflow-wrap: anywhere; text-align: left; }
button.more { margin-top: 12px; }
button[aria-pressed="true"] { background: var(--ink); color: var(--sheet); border-color: var(--ink); }
:focus-visible { outline: 3px solid var(--compute); outline-offset: 2px; border-radius: 4px; }
.choice { display: flex; gap: 8px; border: 0; padding: 0; margin: 8px 0 10px; }
.choice label { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; } .choice { flex-wrap: wrap; }
input, select { box-sizing: border-box; font: inherit; font-size: 14px; color: var(--ink); background: var(--paper); border: 1px solid var(--faint); border-radius: 8px; padding: 5px 10px; max-width: 100%; min-width: 0; } input { width: min(24em, 100%); } fieldset, .choice { min-width: 0; } .choice label { max-width: 100%; }
.io-chart { min-width: 0; width: 100%; overflow: hidden; }
.u-wrap { position: relative; } .u-over, .u-under { position: absolute; } .uplot canvas { display: block; position: relative; width: 100%; height: 100%; }
.command code { overflow-wrap: anywhere; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.tree { margin-top: 8px; }
.tree details { border-top: 1px solid var(--line); }
.tree summary { cursor: pointer; padding: 10px 0; line-height: 1.9; overflow-wrap: anywhere; }
.tree .inside { padding: 0 0 8px 18px; border-left: 2px solid var(--line); margin-left: 5px; }
.counts-text, .why-text { color: var(--soft); font-size: 14px; }
.machines { list-style: none; padding: 0; margin: 6px 0; max-width: none; color: var(--ink); }
.machines li { padding: 5px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.machines li:last-child { border-bottom: 0; }
th, .tag, footer, svg .small, .row .what em, .track span { color: var(--soft); fill: var(--soft); }
td { overflow-wrap: break-word; } td time { white-space: nowrap; } .stack td[data-label]::before { color: var(--soft) !important; }
dialog { color: var(--ink); background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 22px 26px; width: min(1000px, calc(100vw - 24px)); max-height: calc(100dvh - 24px); overflow: auto; }
dialog::backdrop { background: rgb(0 0 0 / 0.5); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 12px 0; } .facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.figures { grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.figures .figure { min-width: 0; }
@media (max-width: 640px) { .figures { grid-template-columns: 1fr 1fr; } .figure { padding: 10px 12px; } .figure b { font-size: 21px; } }
@media (max-width: 480px) { td { overflow-wrap: anywhere; } .stack tr { grid-template-columns: 1fr; } .stack td > * { max-width: 70%; } .stack td:first-child { display: block; } }
@media (max-width: 640px) { dialog { padding: 16px; } .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: 8px; } .tree .inside { padding-left: 10px; margin-left: 2px; } section { border-radius: 8px; } }
`;
