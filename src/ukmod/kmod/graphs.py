"""The dependencies of modules as a graph, for DOT (Graphviz), Mermaid, or an HTML page."""

from __future__ import annotations

from ukmod.kmod.closures import closure
from ukmod.kmod.mermaid import mermaid_text
from ukmod.kmod.page import escaped, page
from ukmod.kmod.visible import one_line
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.closures import Closure
    from ukmod.kmod.context import Context

__all__ = ["ModuleEdge", "ModuleGraph", "module_graph", "to_dot", "to_html", "to_mermaid"]


@record
class ModuleEdge:
    """A module and one that it needs; ``kind`` is dependency, softdep or weakdep."""

    user: str
    used: str
    kind: str


@record
class ModuleGraph:
    """Modules, edges between them, and which of them are asked for or built into the kernel.

    Of hard dependencies, those are edges that do not follow from others.
    """

    modules: tuple[str, ...]
    edges: tuple[ModuleEdge, ...]
    requested: frozenset[str]
    builtin: frozenset[str]


def module_graph(
    context: Context, words: Iterable[str], *, weakdeps: bool = False
) -> tuple[ModuleGraph, Closure]:
    """Return the graph of what modules need, and their closure. Words and errors are those of closure()."""
    found = closure(context, words, weakdeps=weakdeps)
    members = {one.module: one for one in found.modules}
    edges: list[ModuleEdge] = []
    for one in found.modules:
        needs = [name for name in one.needs if name in members]
        indirect = {name for other in needs for name in members[other].needs}
        edges += [ModuleEdge(one.module, name, "dependency") for name in needs if name not in indirect]
        edges += [ModuleEdge(one.module, used, "softdep") for used in one.softdeps]
        edges += [ModuleEdge(one.module, used, "weakdep") for used in one.weakdeps]
    inside = [edge for edge in dict.fromkeys(edges) if edge.used in members and edge.user in members]
    asked = frozenset(one.module for one in found.modules if one.reason in ("requested", "pattern"))
    builtin = frozenset(one.module for one in found.modules if one.path is None)
    return ModuleGraph(tuple(members), tuple(inside), asked, builtin), found


def to_dot(graph: ModuleGraph) -> str:
    """Return the graph in Graphviz's language."""
    lines = ["digraph modules {", "  rankdir=LR;", "  node [shape=box];"]
    for name in graph.modules:
        styles = ["bold"] * (name in graph.requested) + ["dashed"] * (name in graph.builtin)
        lines.append(f"  {_quoted(name)}" + (f' [style="{",".join(styles)}"];' if styles else ";"))
    styles_of = {"dependency": "", "softdep": " [style=dashed]", "weakdep": " [style=dotted]"}
    lines += [
        f"  {_quoted(edge.user)} -> {_quoted(edge.used)}{styles_of[edge.kind]};" for edge in graph.edges
    ]
    return "\n".join([*lines, "}", ""])


def _quoted(name: str) -> str:
    text = one_line(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def to_mermaid(graph: ModuleGraph) -> str:
    """Return the graph as a flowchart of Mermaid."""
    number = {name: f"m{at}" for at, name in enumerate(graph.modules)}
    lines = ["flowchart LR"]
    lines += [f'  {number[name]}["{mermaid_text(name)}"]' for name in graph.modules]
    arrows = {"dependency": "-->", "softdep": "-.->", "weakdep": "-. weak .->"}
    lines += [f"  {number[edge.user]} {arrows[edge.kind]} {number[edge.used]}" for edge in graph.edges]
    if graph.requested:
        lines.append("  classDef requested stroke-width:3px")
        lines.append(
            f"  class {','.join(number[name] for name in graph.modules if name in graph.requested)} requested"
        )
    return "\n".join([*lines, ""])


_COLUMN, _ROW, _HEIGHT, _LETTER = 40, 44, 28, 8
"""Pixels between columns, from row to row, of a box's height, and of a letter's width."""
_STYLE = """
.picture{overflow:auto}
svg text{font:13px ui-monospace,monospace;fill:var(--ink)}
rect{fill:var(--soft);stroke:var(--link)}
.requested rect{stroke-width:3}
.builtin rect{stroke-dasharray:5 3}
path{fill:none;stroke:var(--link)}
.softdep{stroke-dasharray:6 4}
.weakdep{stroke-dasharray:2 4}
"""


def to_html(graph: ModuleGraph, title: str) -> str:
    """Return a page with the graph as a picture and as a list, which asks the network for nothing."""
    level = _levels(graph)
    columns: dict[int, list[str]] = {}
    for name in graph.modules:
        columns.setdefault(level[name], []).append(name)
    place: dict[str, tuple[int, int, int]] = {}
    left = 10
    for at in sorted(columns):
        width = max(len(name) for name in columns[at]) * _LETTER + 20
        place |= {name: (left, 10 + row * _ROW, width) for row, name in enumerate(columns[at])}
        left += width + _COLUMN
    height = 20 + _ROW * max(map(len, columns.values()), default=0)
    shapes = [_arrow(edge, place) for edge in graph.edges] + [
        _box(graph, name, place[name]) for name in graph.modules
    ]
    of: dict[str, list[ModuleEdge]] = {name: [] for name in graph.modules}
    for edge in graph.edges:
        of[edge.user].append(edge)
    rows = [f"<li><code>{escaped(name)}</code>{_words(graph, name, of[name])}</li>" for name in graph.modules]
    picture = (
        f'<div class="picture" tabindex="0"><svg role="img" aria-label="{escaped(title)}" width="{left}" '
        f'height="{height}" viewBox="0 0 {left} {height}">\n'
    )
    body = [picture, "\n".join(shapes), "\n</svg></div>\n<ul>\n", "\n".join(rows), "\n</ul>\n"]
    return page(title, body, _STYLE)


def _levels(graph: ModuleGraph) -> dict[str, int]:
    """Return each module's column: one more than that of its users, cycles of soft dependencies aside."""
    level = dict.fromkeys(graph.modules, 0)
    for _ in graph.modules:
        changed = False
        for edge in graph.edges:
            wanted = level[edge.user] + 1
            if edge.kind == "dependency" and level[edge.used] < wanted <= len(graph.modules):
                level[edge.used], changed = wanted, True
        if not changed:
            break
    for edge in graph.edges:
        if edge.kind != "dependency" and level[edge.used] == 0 and edge.used not in graph.requested:
            level[edge.used] = level[edge.user] + 1
    return level


def _box(graph: ModuleGraph, name: str, place: tuple[int, int, int]) -> str:
    x, y, width = place
    kinds = " ".join(["requested"] * (name in graph.requested) + ["builtin"] * (name in graph.builtin))
    return (
        f'<g class="{kinds}"><rect x="{x}" y="{y}" width="{width}" height="{_HEIGHT}" rx="4"/>'
        f'<text x="{x + 10}" y="{y + 18}">{escaped(name)}</text></g>'
    )


def _arrow(edge: ModuleEdge, place: dict[str, tuple[int, int, int]]) -> str:
    (x1, y1, width), (x2, y2, _) = place[edge.user], place[edge.used]
    start, end = x1 + width, x2
    middle = _HEIGHT // 2
    bend = max((end - start) // 2, _COLUMN // 2)
    return (
        f'<path class="{edge.kind}" d="M{start} {y1 + middle} C{start + bend} {y1 + middle} '
        f'{end - bend} {y2 + middle} {end} {y2 + middle}"/>'
    )


def _words(graph: ModuleGraph, name: str, edges: Sequence[ModuleEdge]) -> str:
    """Say what a module needs; ``edges`` are those that begin at it."""
    kinds = {"dependency": "needs", "softdep": "softly", "weakdep": "weakly"}
    used: dict[str, list[str]] = {}
    for edge in edges:
        used.setdefault(kinds[edge.kind], []).append(escaped(edge.used))
    parts = ["built in"] if name in graph.builtin else []
    parts += [f"{word} {', '.join(names)}" for word, names in used.items()]
    return f": {'; '.join(parts)}" if parts else ""
