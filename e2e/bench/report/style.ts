/** The page's one style sheet: colours by role, for light and dark. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #f6f5f1; --sheet: #ffffff; --ink: #1d2327; --soft: #59636b; --line: #e2e1db;
  --pass: #2a7a6f; --pass-soft: #d9ebe7; --fail: #b3372c; --fail-soft: #f7dfdb; --none-soft: #ecebe5;
}
.in-dark { display: none; }
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161a; --sheet: #1a2026; --ink: #e7ebee; --soft: #a6b1b9; --line: #2c343b;
    --pass: #4fb8a6; --pass-soft: #1c3733; --fail: #ee7767; --fail-soft: #43231f; --none-soft: #2a3138;
  }
  .in-dark { display: block; }
  .in-light { display: none; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 32px; letter-spacing: -0.02em; margin: 0 0 10px; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 0 0 8px; }
p { margin: 0 0 10px; max-width: 78ch; color: var(--soft); }
.note { font-size: 13.5px; }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px; margin-top: 20px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 22px 28px; margin-top: 8px; }
figure { margin: 0; max-width: 560px; }
figure svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; font-weight: 500; font-size: 12.5px; color: var(--soft); }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
.strong { font-weight: 600; }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 12.5px; }
.verdicts { white-space: normal; min-width: 200px; }
.verdict { display: inline-block; padding: 1px 9px; border-radius: 999px; font-size: 12.5px; font-weight: 600; white-space: nowrap; }
.pass { color: var(--pass); background: var(--pass-soft); }
.fail { color: var(--fail); background: var(--fail-soft); }
.none { color: var(--soft); background: var(--none-soft); }
@media (max-width: 640px) { main { padding: 22px 12px 40px; } section { padding: 16px 14px; } h1 { font-size: 26px; } }
`;
