"""HTML pages of one file: they ask the network for nothing, and what they show cannot become a part of them.

All text is escaped. Should a name slip through, the page's policy (Content-Security-Policy) lets no script
run but the page's own, by its digest, and nothing be loaded.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape as escaped_html

from ukmod.kmod.visible import escape
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["TableCell", "TableRow", "escaped", "page", "table"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--soft:#f3f5f8;
--link:#2f5f9e;--good:#1a7f37;--bad:#b3261e;--doubt:#7d5700}
@media(prefers-color-scheme:dark){:root{--ink:#dfe3e8;--paper:#14171a;--line:#3a4148;--soft:#1f2429;
--link:#82b1f0;--good:#5fcf80;--bad:#ff8a80;--doubt:#e3b341}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:80rem;
color:var(--ink);background:var(--paper)}
h1{font-size:1.4rem;overflow-wrap:anywhere}
h2{font-size:1.1rem}
code,pre,.code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
pre{white-space:pre-wrap;margin:.3rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
thead th{background:var(--soft)}
thead .number{text-align:right}
caption{text-align:left;font-weight:600;padding:.5rem 0}
.number{text-align:right;font-variant-numeric:tabular-nums}
.good{color:var(--good)}
.bad{color:var(--bad);font-weight:600}
.doubt{color:var(--doubt)}
.filter{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:end;margin:1rem 0}
.filter[hidden]{display:none}
.filter label{display:grid}
.filter input,.filter select{font:inherit;padding:.4rem;min-width:0;max-width:100%;color:inherit;
background:var(--soft);border:1px solid var(--line);border-radius:.3rem}
:focus-visible{outline:3px solid var(--link);outline-offset:1px}
summary{cursor:pointer;padding:.2rem 0}
@media(max-width:40rem){
.stack thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.stack,.stack caption,.stack tbody,.stack tr,.stack th,.stack td{display:block;width:100%}
.stack tr{padding:.5rem 0;border-bottom:1px solid var(--line)}
.stack tr[hidden]{display:none}
.stack th,.stack td{border:0;padding:.1rem 0;text-align:left;overflow-wrap:anywhere}
.stack td:empty{display:none}
.stack td[data-label]::before{content:attr(data-label) ": ";opacity:.75}
}
"""
_SCRIPT = """
for (const form of document.querySelectorAll(".filter")) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const texts = rows.map(row => row.textContent.toLowerCase());
  const [word, kind] = form.querySelectorAll("input, select");
  const count = form.querySelector("output");
  const show = () => {
    let shown = 0;
    rows.forEach((row, at) => {
      const found = texts[at].includes(word.value.trim().toLowerCase());
      const fits = found && (!kind?.value || row.dataset.kind === kind.value);
      row.hidden = !fits;
      shown += fits;
    });
    count.value = shown + " of " + rows.length;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", event => event.preventDefault());
  form.hidden = false;
  show();
}
"""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}'"
)


def escaped(text: object) -> str:
    """Return text as HTML; control characters, which HTML cannot hold, and directions become visible."""
    plain = str(text).encode("utf-8", "backslashreplace").decode()
    return escaped_html(escape(plain))


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """Return a page. ``title`` is text; the parts of ``body``, and ``style``, are HTML and CSS of ours."""
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escaped(title)}</title><style>{_STYLE}{style}</style></head>\n",
            f"<body><main><h1>{escaped(title)}</h1>\n",
            *body,
            f"</main><script>{_SCRIPT}</script></body></html>\n",
        )
    )


@record
class TableCell:
    """A cell: its text, or HTML of ours with more, and the class of its style (good, bad, doubt, number)."""

    text: object = ""
    style: str = ""
    more: str = ""


@record
class TableRow:
    """A row, whose first cell is its heading. ``kind``: what a reader may choose rows by."""

    cells: tuple[TableCell, ...]
    kind: str = ""


def table(
    name: str, caption: str, columns: Sequence[str], rows: Sequence[TableRow], *, filtered: bool = False
) -> Iterator[str]:
    """Yield a table, which becomes a list on a narrow screen. ``name``: an identifier, once in the page.

    ``filtered``: a reader may search it, and choose rows by their kind.
    """
    if filtered:
        yield f'<form class="filter" data-table="{name}" role="search" hidden>'
        yield '<label>Search<input type="search" autocomplete="off"></label>'
        kinds = sorted({row.kind for row in rows} - {""})
        if kinds:
            options = "".join(f"<option>{escaped(kind)}</option>" for kind in kinds)
            yield f'<label>Show<select><option value="">all</option>{options}</select></label>'
        yield f'<output aria-live="polite">{len(rows)}</output></form>\n'
    numeric = [
        all(row.cells[at].style == "number" for row in rows) and bool(rows) for at in range(len(columns))
    ]
    heads = "".join(
        f'<th scope="col"{" class=number" * is_number}>{escaped(column)}</th>'
        for column, is_number in zip(columns, numeric, strict=True)
    )
    yield f'<div class="scroll" tabindex="0" role="group" aria-label="{escaped(caption)}">'
    yield f'<table id="{name}" class="stack"><caption>{escaped(caption)}</caption>\n'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    for row in rows:
        yield f'<tr data-kind="{escaped(row.kind)}">' if row.kind else "<tr>"
        for at, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
            style = f' class="{cell.style}"' if cell.style else ""
            inner = escaped(cell.text) + cell.more
            if at:
                label = f' data-label="{escaped(column)}"' if str(cell.text) else ""
                yield f"<td{label}{style}>{inner}</td>"
            else:
                yield f'<th scope="row"{style}>{inner}</th>'
        yield "</tr>\n"
    yield "</tbody></table></div>\n"
