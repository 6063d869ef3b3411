/** The report's style sheet: inside the page, because the page is one file. Colours are told apart by colour-blind eyes. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d1f23; --soft: #656b76; --line: #e4e2dd; --axis: #a3a7af;
  --blue: #2463c7; --orange: #c9590c; --green: #0b7d62; --front: #1d1f23;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1c1f25; --ink: #e9eaec; --soft: #9aa1ad; --line: #2e323a; --axis: #6a717d;
    --blue: #76a9ff; --orange: #ff9f5a; --green: #4fcfaa; --front: #e9eaec;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.01em; margin: 0 0 6px; }
h2 { font-size: 18px; margin: 40px 0 4px; }
p { margin: 0 0 14px; max-width: 76ch; }
.lead, .note, footer { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px; overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 16px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
tr.original td { color: var(--soft); }
table.notes { font-size: 13.5px; }
table.notes th, table.notes td { padding: 5px 7px; }
table.notes th:last-child, table.notes td:last-child { white-space: normal; text-align: left; color: var(--soft); }
td.sample { text-align: left; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; min-width: 420px; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 11px; } svg .title { fill: var(--soft); }
svg .name { fill: var(--soft); } svg .name.front { fill: var(--ink); font-weight: 600; }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--axis); }
svg path.front { stroke: var(--front); stroke-width: 1.25; stroke-dasharray: 4 3; opacity: 0.55; }
svg .interval { stroke: var(--axis); stroke-width: 2; }
svg .dot { stroke: var(--card); stroke-width: 1.5; }
svg .mark { fill-opacity: 0.75; }
.integer, .attention { fill: var(--blue); background: var(--blue); }
.minifloat, .mlp { fill: var(--orange); background: var(--orange); }
.codebook, .embedding { fill: var(--green); background: var(--green); }
.legend { display: flex; gap: 18px; color: var(--soft); font-size: 13px; margin: 0 0 6px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); }
footer { margin-top: 40px; font-size: 13px; }
`;
