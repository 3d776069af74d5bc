"""A table as one self-contained HTML page: click a column to sort, type to filter.

Nothing is loaded from elsewhere, and every text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

VERSION = 1

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1b1b1b; background: #fff }
h1 { font-size: 1.25rem; margin: 0 0 .25rem }
p { margin: .25rem 0 .75rem; max-width: 60rem; color: #444 }
input { font: inherit; padding: .25rem .5rem; width: 20rem; max-width: 100% }
.scroll { overflow: auto; max-height: 80vh; margin-top: .75rem; border: 1px solid #ccc }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap }
th { position: sticky; top: 0; background: #e8eef4; border-bottom: 1px solid #999 }
th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid #0072b2 }
th[aria-sort=ascending] button::after { content: " \\25b2" }
th[aria-sort=descending] button::after { content: " \\25bc" }
td.number { text-align: right }
td.missing { color: #767676 }
tbody tr:nth-child(even) { background: #f6f8fa }
"""

_SCRIPT = """
const body = document.querySelector("tbody");
const heads = Array.from(document.querySelectorAll("th"));
function key(row, column) {
  const text = row.cells[column].textContent;
  if (text === "NA" || text === "") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}
heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const rows = Array.from(body.rows).map(row => [key(row, column), row]);
  rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1
    : sign * compare(a, b));
  body.append(...rows.map(([, row]) => row));
}));
document.querySelector("input").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
});
"""


def page(title: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML page with one table.

    Parameters
    ----------
    title, caption : plain text above the table; an empty caption is left out.
    columns, rows : plain text of the header and of the cells.
    """
    head = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in columns
    )
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    note = f"<p>{escape(caption)}</p>\n" if caption else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{note}"
        '<label>Filter rows: <input type="search"></label>\n'
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _cell(text: str) -> str:
    kind = ' class="number"' if _NUMBER.match(text) else ""
    kind = ' class="missing"' if text == "NA" else kind
    return f"<td{kind}>{escape(text)}</td>"
