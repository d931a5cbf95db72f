"""How the catalogue looks and searches: a style sheet and a few lines of JavaScript, which stand inside each page."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --paper: #ffffff; --tint: #f3f5f8;
  --link: #0b57d0; --good: #1a7f37; --bad: #b3261e; --mark: #fff1a8; --mark-ink: #1b1f24; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a0a9b4; --line: #343b44; --paper: #14171b;
  --tint: #1d2127; --link: #8ab4f8; --good: #6fcf8a; --bad: #ff8f86; --mark: #6b5a00; --mark-ink: #fff7d1; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 48rem; }
a { color: var(--link); }
a:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
code { overflow-wrap: anywhere; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  overflow-x: auto; }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
.search { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: 1.5rem 0 1rem; }
.search label { font-weight: 600; }
.search input { font: inherit; flex: 1 1 18rem; padding: .5rem .75rem; border: 1px solid var(--soft);
  border-radius: .5rem; background: var(--paper); color: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .6rem .75rem; border-bottom: 1px solid var(--line); }
thead th { font-size: .8125rem; color: var(--soft); white-space: nowrap; border-bottom-width: 2px; }
tbody th { font-weight: 400; } tbody th > a, tbody th > code { font-weight: 600; }
.whole { white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.names { display: flex; flex-wrap: wrap; gap: .25rem .375rem; margin: .35rem 0 0; padding: 0; list-style: none; }
.names li, .tag { display: inline-block; font-size: .8125rem; line-height: 1.4; padding: 0 .4rem;
  background: var(--tint); border: 1px solid var(--line); border-radius: .375rem; }
.names li.hit { background: var(--mark); color: var(--mark-ink); border-color: transparent; }
.tag { white-space: nowrap; }
.added { color: var(--good); } .removed, .bad { color: var(--bad); }
tbody th:has(.names) { min-width: 15rem; } td.number svg { margin-top: .5rem; }
.bar { fill: var(--soft); } .bar.waits { fill: var(--bad); }
table.days { width: auto; margin-top: .5rem; } table.days th, table.days td { padding: .25rem 1.5rem .25rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
ul.plain { margin: .25rem 0 1rem; padding-left: 1.25rem; }
nav { margin-bottom: .75rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
"""

SCRIPT = """
const box = document.getElementById("search"), said = document.getElementById("found");
const rows = [...document.querySelectorAll("[data-text]")];
const search = () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const fits = words.every(word => row.dataset.text.includes(word));
    row.hidden = !fits;
    shown += fits ? 1 : 0;
    for (const name of row.querySelectorAll(".names li"))
      name.classList.toggle("hit", words.some(word => name.textContent.toLowerCase().includes(word)));
  }
  said.textContent = words.length ? shown + " of " + rows.length + " events" : rows.length + " events";
  history.replaceState(null, "", words.length ? "#" + encodeURIComponent(box.value) : location.pathname);
};
try { box.value = decodeURIComponent(location.hash.slice(1)); } catch { box.value = ""; }
box.addEventListener("input", search);
search();
"""


def policy() -> str:
    """A content security policy under which this style and this script run and nothing else, whatever a file says."""
    allowed = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("script", SCRIPT), ("style", STYLE))
    }
    return "default-src 'none'; " + "; ".join(f"{name}-src 'sha256-{digest}'" for name, digest in allowed.items())
