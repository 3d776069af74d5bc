"""Self-contained HTML pages: tables that can be sorted, filtered and saved, and text around them.

Nothing is loaded from elsewhere, and every text is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

VERSION = 2

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")

_STYLE = """
body { font: 14px/1.45 "DejaVu Sans", Verdana, sans-serif; margin: 1.5rem; color: #1b1b1b; background: #fff }
h1 { font-size: 1.35rem; margin: 0 0 .25rem }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .25rem }
p { margin: .25rem 0 .75rem; max-width: 60rem; color: #444 }
input { font: inherit; padding: .25rem .5rem; width: 20rem; max-width: 100% }
a { color: #0072b2; margin-left: 1rem }
.scroll { overflow: auto; max-height: 80vh; margin-top: .75rem; border: 1px solid #ccc; width: fit-content;
  max-width: 100% }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap }
td.long { white-space: normal; min-width: 24rem; max-width: 48rem }
th { position: sticky; top: 0; background: #e8eef4; border-bottom: 1px solid #999 }
th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid #0072b2 }
th[aria-sort=ascending] button::after { content: " \\25b2" }
th[aria-sort=descending] button::after { content: " \\25bc" }
td.number { text-align: right }
td.missing { color: #767676 }
td.fine::before { content: "\\2713\\00a0"; color: #009e73; font-weight: bold }
td.wrong { font-weight: 600 }
td.wrong::before { content: "!\\00a0"; color: #d55e00; font-weight: bold }
tbody tr:nth-child(even) { background: #f6f8fa }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1.25rem; margin: .5rem 0 }
dt { color: #555 }
dd { margin: 0; overflow-wrap: anywhere }
"""  # noqa: E501

_SCRIPT = """
function key(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent;
  if (text === "NA" || text === "") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}
for (const box of document.querySelectorAll(".table")) {
  const body = box.querySelector("tbody");
  const heads = Array.from(box.querySelectorAll("th"));
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = Array.from(body.rows).map(row => [key(row, column), row]);
    rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1
      : sign * compare(a, b));
    body.append(...rows.map(([, row]) => row));
  }));
  box.querySelector("input")?.addEventListener("input", event => {
    const words = event.target.value.toLowerCase().split(/\\s+/);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
}
"""

LONG_CELL = 60  # characters from which a cell may break into lines
FILTERED = 12  # rows from which a table has a filter


def document(title: str, *parts: str) -> str:
    """Return an HTML page of parts made by the other functions of this module."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(part for part in parts if part) + "\n"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def paragraph(text: str) -> str:
    """Return a paragraph; nothing for an empty text."""
    return f"<p>{escape(text)}</p>" if text else ""


def section(title: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(title)}</h2>"


def facts(rows: Mapping[str, str]) -> str:
    """Return a list of names and what they are."""
    body = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows.items())
    return f"<dl>{body}</dl>"


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    marks: Mapping[str, str] | None = None,
    file: str = "",
    tsv: str = "",
) -> str:
    """Return a table: click a column to sort; a longer one has a filter.

    Parameters
    ----------
    columns, rows : plain text of the header and of the cells. A cell ``value\\tshown`` is sorted
        by its value and shows the rest.
    marks : text of a cell -> its class, ``fine`` (a tick) or ``wrong`` (a mark).
    file, tsv : name and content of a file that a link in the page saves.
    """
    head = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in columns
    )
    body = "\n".join(
        "<tr>" + "".join(_cell(text, marks or {}) for text in row) + "</tr>" for row in rows
    )
    above = ""
    if len(rows) >= FILTERED:
        above = '<label>Filter rows: <input type="search"></label>'
    if tsv:
        data = base64.b64encode(tsv.encode()).decode()
        above += (
            f'<a download="{escape(file)}" href="data:text/tab-separated-values;base64,{data}">'
            f"save {escape(file)}</a>"
        )
    return (
        f'<div class="table">{above}\n<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div></div>"
    )


def _cell(text: str, marks: Mapping[str, str]) -> str:
    value, _, shown = text.rpartition("\t")
    kind = "number" if value or _NUMBER.match(shown) else ""
    kind = "missing" if shown == "NA" else "long" if len(shown) > LONG_CELL else kind
    kind = marks.get(shown, kind)
    data = f' data-value="{escape(value)}"' if value else ""
    return f"<td{f' class={kind}' if kind else ''}{data}>{escape(shown)}</td>"


def with_intervals(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Return a table in which every ``x, x_low, x_high`` is one column ``x (95 %)``.

    Columns named low and high belong to the one before them. A value without interval stands
    alone.
    """
    names = list(columns)
    own = {}  # place of a value -> places of its ends
    for place, name in enumerate(names):
        prefix = f"{name}_"
        if f"{prefix}low" in names and f"{prefix}high" in names:
            own[place] = (names.index(f"{prefix}low"), names.index(f"{prefix}high"))
        elif names[place + 1 : place + 3] == ["low", "high"]:
            own[place] = (place + 1, place + 2)
    gone = {end for ends in own.values() for end in ends}
    kept = [place for place in range(len(names)) if place not in gone]
    head = [f"{names[p]} (95 %)" if p in own else names[p] for p in kept]

    def cell(row: Sequence[str], place: int) -> str:
        value = row[place]
        low, high = (row[end] for end in own.get(place, (place, place)))
        if place not in own or "NA" in (value, low, high):
            return value
        shown = (f"{float(number):.3f}" for number in (value, low, high))
        return "{}\t{} ({} to {})".format(value, *shown)

    return head, [[cell(row, place) for place in kept] for row in rows]


def page(title: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML page with one table, intervals beside their values, and its TSV to save.

    Parameters
    ----------
    title, caption : plain text above the table; an empty caption is left out.
    columns, rows : plain text of the header and of the cells.
    """
    tsv = "".join("\t".join(line) + "\n" for line in (columns, *rows))
    head, body = with_intervals(columns, rows)
    content = table(head, body, file=f"{title}.tsv", tsv=tsv)
    return document(title, paragraph(caption), content)
