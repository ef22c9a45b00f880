"""The page's style sheet: inline, so that the page stands alone; light or dark as the reader's system is."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f7f7f4; --card: #ffffff; --ink: #1d2327; --soft: #5f6b73; --line: #e3e4df;
  --good: #1f7a4d; --good-paper: #e7f4ec; --bad: #b3261e; --bad-paper: #fcebe9; --note: #8a5a00;
  --note-paper: #fdf3dd;
  --loaded: #2f8f63; --duplicates: #7a8ca3; --dead_letters: #c4622d; --tombstones: #9b87b5;
  --already_loaded: #b9c3b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1c2125; --ink: #e6e8e6; --soft: #9aa5ab; --line: #2e353a;
    --good: #6fd3a0; --good-paper: #17312a; --bad: #ff9d94; --bad-paper: #3a1f1d; --note: #f0c36a;
    --note-paper: #352a14;
    --loaded: #3fa878; --duplicates: #7f93ac; --dead_letters: #d9784a; --tombstones: #a493bf;
    --already_loaded: #6e7a68;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 1.25rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 60rem; margin: 0 auto; }
section, header.verdict {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.1rem 1.25rem; margin: 0 0 1rem;
}
header.verdict { border-left: 6px solid var(--soft); padding: 1.4rem 1.5rem; }
header.closed { border-left-color: var(--good); }
header.broken { border-left-color: var(--bad); }
header.accepted, header.unchecked { border-left-color: var(--note); }
h1 { margin: 0 0 .3rem; font-size: 1.7rem; line-height: 1.2; letter-spacing: -.01em; }
header.closed h1 { color: var(--good); }
header.broken h1 { color: var(--bad); }
header.accepted h1, header.unchecked h1 { color: var(--note); }
header p { margin: 0; font-size: 1.05rem; }
h2 { margin: 0 0 .7rem; font-size: 1.05rem; }
p.hint { margin: -.4rem 0 .8rem; color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; }
code, .id {
  font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere;
}
.bar { display: flex; gap: 2px; height: .7rem; margin: 1rem 0 0; border-radius: 4px; overflow: hidden; }
.bar span { min-width: 3px; }
.swatch { display: inline-block; width: .65em; height: .65em; margin-right: .5em; border-radius: 2px; }
.loaded { background: var(--loaded); }
.duplicates { background: var(--duplicates); }
.dead_letters { background: var(--dead_letters); }
.tombstones { background: var(--tombstones); }
.already_loaded { background: var(--already_loaded); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; font-size: .85rem; color: var(--soft); }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
.ranges th:first-child, .ranges td:first-child { text-align: left; }
.reasons { max-width: 24rem; }
td.meaning { color: var(--soft); font-size: .92rem; padding-left: .5rem; }
td.zero { color: var(--soft); }
ul.identities { list-style: none; margin: 0; padding: 0; }
ul.identities li {
  display: flex; gap: .75rem; padding: .4rem 0; border-bottom: 1px solid var(--line);
  align-items: baseline;
}
ul.identities li:last-child { border-bottom: 0; }
.mark {
  flex: none; min-width: 4.6rem; text-align: center; border-radius: 6px; padding: 0 .5rem;
  font-size: .8rem; font-weight: 600;
}
.mark.ok { color: var(--good); background: var(--good-paper); }
.mark.no { color: var(--bad); background: var(--bad-paper); }
li b { flex: none; }
ol, ul.plain { margin: 0; padding-left: 1.3rem; }
ol li, ul.plain li { margin: .25rem 0; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: .85rem; padding: 0 .25rem 1rem; }
a { color: inherit; }
@media (max-width: 38rem) {
  body { padding: .75rem; }
  section, header.verdict { padding: .9rem 1rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  .accounts tr {
    display: grid; grid-template-columns: 1fr auto; padding: .4rem 0;
    border-bottom: 1px solid var(--line);
  }
  .accounts tr:first-child { display: none; }
  .accounts td { border: 0; padding: 0; }
  .accounts .ranges th:first-child, .ranges td:first-child { text-align: left; }
.reasons { max-width: 24rem; }
td.meaning { grid-column: 1 / -1; padding: 0; }
  .mark { min-width: 0; }
  ul.identities li { flex-wrap: wrap; gap: .2rem .6rem; }
}
@media print { body { background: none; } section, header.verdict { break-inside: avoid; } }
"""
