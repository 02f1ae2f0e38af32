"""Profiles: the layouts of one kernel release that the kernel half needs, in a small JSON file.

A profile is a graph of types extracted from a kernel's BTF by ``ukmod profile``. It records the kernel's
release and vermagic and the size of struct module, to be compared with a module's
``.gnu.linkonce.this_module``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from ukmod.errors import FormatError, LayoutError
from ukmod.kmod.regular import read_regular
from ukmod.kmod.temporary import replace_file
from ukmod.machine.types.graph import AGGREGATES, VOID, Field, Graph, Node, Tag
from ukmod.machine.types.wanted import WANTED
from ukmod.record import record, replace

__all__ = ["Profile", "Stamp", "cut", "read_profile", "write_profile"]

_PROFILE_FORMAT = 1
_LIMIT = 64 << 20
_GZIP = zlib.MAX_WBITS | 16
"""zlib's number for gzip's header and trailer."""
_ROOTS = (Tag.STRUCT, Tag.UNION, Tag.TYPEDEF, Tag.ENUM)
_TAGS = frozenset(value for name, value in vars(Tag).items() if name.isupper())


@record
class Stamp:
    """The kernel a profile describes; ``digest`` is the SHA-256 of the BTF it was extracted from."""

    release: str
    vermagic: str
    module_size: int
    digest: str = ""


class Profile:
    """A graph of types from a file; types are identified by their indices in ``nodes``."""

    def __init__(self, stamp: Stamp, nodes: Iterable[Node], path: str = "") -> None:
        self.stamp = stamp
        self.path = path
        self.nodes = tuple(nodes)
        self._by_name: dict[tuple[str, str], int] = {}
        for number, node in enumerate(self.nodes):
            if node.name:
                self._by_name.setdefault((node.name, node.tag), number)

    def node(self, number: int) -> Node:
        """Return a type; FormatError if the number is invalid."""
        if not 0 <= number < len(self.nodes):
            raise FormatError(f"no type {number} in the profile", path=self.path)
        return self.nodes[number]

    def find(self, name: str, tags: Iterable[str]) -> int | None:
        """Return the number of a type with this name and one of these tags."""
        numbers = (self._by_name.get((name, tag)) for tag in tags)
        return next((number for number in numbers if number is not None), None)

    def function(self, name: str) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: profiles contain no functions."""
        return None

    def variable(self, name: str) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: profiles contain no variables."""
        return None


# Making profiles


def cut(
    graph: Graph, *, release: str, vermagic: str, digest: str = "", wanted: Iterable[str] = WANTED
) -> Profile:
    """Extract the wanted types, and all types they contain, from a kernel's types.

    Raises LayoutError if struct module is not among them.
    """
    found = (graph.find(name, (tag,)) for name in wanted for tag in _ROOTS)
    roots = [number for number in found if number is not None]
    whole = _contained(graph, roots)
    order = list(dict.fromkeys([VOID, *roots]))
    numbers = {number: place for place, number in enumerate(order)}
    for number in order:  # the list grows meanwhile
        for target in _targets(_shortened(graph, number, whole)):
            if target not in numbers:
                numbers[target] = len(order)
                order.append(target)
    nodes = [_renumbered(_shortened(graph, number, whole), numbers) for number in order]
    module = graph.find("module", (Tag.STRUCT,))
    if module is None:
        raise LayoutError("its types lack struct module: they are not a kernel's", subject=graph.path)
    return Profile(Stamp(release, vermagic, graph.node(module).size, digest), nodes, graph.path)


def _contained(graph: Graph, roots: Iterable[int]) -> set[int]:
    """The types that the roots consist of, except named structs that are only pointed to."""
    whole: set[int] = set()
    todo = list(roots)
    while todo:
        number = todo.pop()
        if number not in whole:
            whole.add(number)
            node = graph.node(number)
            if node.tag != Tag.POINTER or not _is_named_aggregate(graph, node.target):
                todo += _targets(node)
    return whole


def _is_named_aggregate(graph: Graph, number: int) -> bool:
    """True if it is a named struct or union, through any number of typedefs and qualifiers, even a loop."""
    seen: set[int] = set()
    node = graph.node(number)
    while node.tag in (Tag.TYPEDEF, Tag.QUALIFIER) and number not in seen:
        seen.add(number)
        number = node.target
        node = graph.node(number)
    return node.tag in AGGREGATES and bool(node.name)


def _targets(node: Node) -> Iterator[int]:
    yield node.target
    if node.tag != Tag.ENUM:
        yield from (field.target for field in node.fields)


def _shortened(graph: Graph, number: int, whole: set[int]) -> Node:
    """The node as stored in the profile: a struct that is only pointed to is reduced to its name."""
    node = graph.node(number)
    if number in whole or not node.name or node.tag not in AGGREGATES:
        return node
    return Node(Tag.FORWARD, node.name)


def _renumbered(node: Node, numbers: dict[int, int]) -> Node:
    fields = node.fields
    if node.tag != Tag.ENUM:
        fields = tuple(replace(field, target=numbers[field.target]) for field in fields)
    return replace(node, target=numbers[node.target], fields=fields)


# Writing and reading


def write_profile(profile: Profile, path: str) -> None:
    """Write a profile, compressed if the path ends in ``.gz``; the output is reproducible."""
    import gzip
    import json

    stamp = profile.stamp
    lines = ",\n".join(json.dumps(_encode(node), separators=(",", ":")) for node in profile.nodes)
    head = {
        "format": _PROFILE_FORMAT,
        "release": stamp.release,
        "vermagic": stamp.vermagic,
        "sizeof_module": stamp.module_size,
        "source_sha256": stamp.digest,
    }
    data = f'{json.dumps(head, indent=1)[:-2]},\n "types": [\n{lines}\n]}}\n'.encode()
    if path.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    try:
        replace_file(path, (data,))
    except OSError as error:
        raise LayoutError(f"cannot write: {error.strerror}", errno=error.errno, subject=path) from error


def read_profile(path: str) -> Profile:
    """Read a profile; FormatError if it is not one, LayoutError if it cannot be read."""
    try:
        data = read_regular(path, _LIMIT)
    except OSError as error:
        raise LayoutError(f"cannot read: {error.strerror}", errno=error.errno, subject=path) from error
    return parse_profile(data, path)


def parse_profile(data: bytes, path: str = "") -> Profile:
    """Parse a profile's bytes, checking every value."""
    import json

    try:
        if data[:2] == b"\x1f\x8b":
            data = _inflate(data)
        content = json.loads(data)
        if content["format"] != _PROFILE_FORMAT:
            raise FormatError(f"unknown profile format {content['format']}", path=path)
        stamp = Stamp(
            _text(content["release"]),
            _text(content["vermagic"]),
            _natural(content["sizeof_module"]),
            _text(content["source_sha256"]),
        )
        return Profile(stamp, [_decode(entry) for entry in content["types"]], path)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FormatError(f"not a profile of types: {error}", path=path) from error
    except (EOFError, OSError, zlib.error, RecursionError) as error:
        raise FormatError(f"damaged profile: {error}", path=path) from error


def _inflate(data: bytes) -> bytes:
    """Unpack a file of gzip's, whose own module takes longer to import than this takes."""
    stream = zlib.decompressobj(_GZIP)
    unpacked = stream.decompress(data, _LIMIT)
    if not stream.eof:
        raise EOFError("it is cut off, or too large")
    return unpacked


def _encode(node: Node) -> dict[str, Any]:
    """A node as JSON, without fields that are zero or empty."""
    entry = {
        "t": node.tag,
        "n": node.name,
        "s": node.size,
        "to": node.target,
        "i": int(node.signed),
        "c": list(node.counts),
        "f": [[field.name, field.target, field.bits, field.bit_size] for field in node.fields],
        "v": int(node.variadic),
    }
    return {key: value for key, value in entry.items() if value}


def _decode(entry: dict[str, Any]) -> Node:
    if entry["t"] not in _TAGS:
        raise ValueError(f"unknown kind of type {entry['t']!r}")
    return Node(
        entry["t"],
        _text(entry.get("n", "")),
        _natural(entry.get("s", 0)),
        bool(entry.get("i")),
        _natural(entry.get("to", 0)),
        tuple(_natural(count) for count in entry.get("c", ())),
        tuple(_field(entry["t"], *field) for field in entry.get("f", ())),
        bool(entry.get("v")),
    )


def _field(tag: str, name: object, target: object, bits: object, bit_size: object) -> Field:
    if tag == Tag.ENUM and isinstance(bits, int):
        return Field(_text(name), bits, 0, 0)
    return Field(_text(name), _natural(bits), _natural(bit_size), _natural(target))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _natural(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is not a size")
    return value
