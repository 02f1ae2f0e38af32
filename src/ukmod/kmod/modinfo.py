"""A module's information about itself: its ``.modinfo`` section, its signature and its build-id, as values.

``.modinfo`` is NUL-separated ``key=value`` text that MODULE_LICENSE(), MODULE_ALIAS() and the rest of
include/linux/module.h leave behind, plus what modpost adds (depends, vermagic). For a module inside the
kernel image the same text is in modules.builtin.modinfo, each line prefixed with the module's name.
"""

from __future__ import annotations

from ukmod.errors import FormatError
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.signature import ModuleSignature

__all__ = [
    "SIGNATURE_FIELDS",
    "ModuleInfo",
    "Parameter",
    "builtin_fields",
    "builtin_modules",
    "invalid_parameters",
    "merge_parameters",
    "parse_fields",
    "read_module",
]


SIGNATURE_FIELDS = ("sig_id", "signer", "sig_key", "sig_hashalgo", "signature")
"""libkmod's names for the parts of a signature."""


@record
class Parameter:
    """One module parameter: ``parm`` gives the description, ``parmtype`` the type; either may be missing."""

    name: str
    description: str | None = None
    type: str | None = None


@record
class ModuleInfo:
    """Everything one module says about itself.

    ``fields`` are the (key, value) pairs in the order they are stored; a key may come any number of times.
    ``path`` is the module's file, or None for one that is built into the kernel.
    """

    name: str
    path: str | None
    fields: tuple[tuple[str, str], ...]
    signature: ModuleSignature | None = None
    build_id: bytes = b""

    def values(self, key: str) -> tuple[str, ...]:
        """Return all values of ``key``, in order."""
        return tuple(value for found, value in self.fields if found == key)

    def first(self, key: str) -> str:
        """Return the first value of ``key``, or an empty string: for keys that come once."""
        return next((value for found, value in self.fields if found == key), "")

    @property
    def aliases(self) -> tuple[str, ...]:
        """The module's other names: shell patterns, as in modules.alias."""
        return self.values("alias")

    @property
    def depends(self) -> tuple[str, ...]:
        """The modules whose symbols it uses, by the name modpost knew them by."""
        return tuple(name for value in self.values("depends") for name in value.split(",") if name)

    @property
    def firmware(self) -> tuple[str, ...]:
        """Files it may ask for, relative to the firmware directories. A name may hold ``*`` (since 6.14)."""
        return self.values("firmware")

    @property
    def softdeps(self) -> tuple[str, ...]:
        """Each MODULE_SOFTDEP() as written: ``pre: a b post: c``."""
        return self.values("softdep")

    @property
    def weakdeps(self) -> tuple[str, ...]:
        """Each MODULE_WEAKDEP() as written: module names."""
        return self.values("weakdep")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The symbol namespaces it imports."""
        return self.values("import_ns")

    @property
    def vermagic(self) -> str:
        """The kernel it was built for: release and the configuration that matters to the ABI."""
        return self.first("vermagic")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, in order of first appearance."""
        return merge_parameters(self.fields)

    def listing(self) -> tuple[tuple[str, str], ...]:
        """Return ``fields``, then the signature's as libkmod names and prints them.

        Of one that libkmod cannot read it says that it is there, and nothing else.
        """
        signature = self.signature
        if signature is None:
            return self.fields
        if not signature.known_to_kmod:
            nothing = [("signer", ""), ("sig_key", ""), ("sig_hashalgo", "unknown"), ("signature", "")]
            return (*self.fields, ("sig_id", signature.id_type), *nothing)
        return (
            *self.fields,
            ("sig_id", signature.id_type),
            ("signer", signature.signer),
            ("sig_key", _hex(signature.key_id)),
            ("sig_hashalgo", signature.hash_algorithm),
            ("signature", _hex(signature.signature)),
        )


def parse_fields(section: bytes) -> tuple[tuple[str, str], ...]:
    """Return the (key, value) pairs of a ``.modinfo`` section. What lacks a ``=`` is a key without value."""
    text = section.decode("utf-8", "surrogateescape")
    pairs = [field.partition("=") for field in text.split("\0") if field]
    return tuple([(key, value) for key, _, value in pairs])


def builtin_fields(modinfo: bytes, name: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs that modules.builtin.modinfo has for the built-in module ``name``."""
    prefix = name.encode("utf-8", "surrogateescape") + b"."
    own = [line[len(prefix) :] for line in modinfo.split(b"\0") if line.startswith(prefix)]
    return parse_fields(b"\0".join(own))


def builtin_modules(modinfo: bytes) -> dict[str, ModuleInfo]:
    """Return what modules.builtin.modinfo says, by the names of the built-in modules."""
    fields: dict[str, list[bytes]] = {}
    for line in modinfo.split(b"\0"):
        name, dot, field = line.partition(b".")
        if dot:
            fields.setdefault(name.decode("utf-8", "surrogateescape"), []).append(field)
    return {name: ModuleInfo(name, None, parse_fields(b"\0".join(own))) for name, own in fields.items()}


def read_module(file: ModuleFile, name: str, *, signature: bool = True, build_id: bool = True) -> ModuleInfo:
    """Return what a module's file says; ``name`` is the module's. What is not wanted is not looked for.

    Raises FormatError if it is no ELF file or has no ``.modinfo``, and what unpacking it may raise. A
    signature whose trailer makes no sense counts as none.
    """
    elf = file.elf()
    found = elf.find(b".modinfo")
    if found is None:
        raise elf.no_data("no .modinfo section")
    return ModuleInfo(
        name,
        file.path,
        parse_fields(found[1]),
        _signature(file) if signature else None,
        _build_id(elf) if build_id else b"",
    )


def _signature(file: ModuleFile) -> ModuleSignature | None:
    try:
        return file.signature()
    except FormatError:
        return None


def _build_id(elf: Elf) -> bytes:
    """Return the linker's identification of the file (elf(5), ``.note.gnu.build-id``), or nothing."""
    found = elf.find(b".note.gnu.build-id")
    if found is None:
        return b""
    note = found[1]
    name_size, size, kind = (int.from_bytes(note[at : at + 4], elf.order) for at in (0, 4, 8))
    return note[16 : 16 + size] if (name_size, kind, note[12:16]) == (4, 3, b"GNU\0") else b""


def merge_parameters(fields: tuple[tuple[str, str], ...]) -> tuple[Parameter, ...]:
    """Return the parameters, ``parm`` and ``parmtype`` merged by name; of one kind the last counts.

    Values without a colon name nothing and are left out.
    """
    descriptions: dict[str, str] = {}
    types: dict[str, str] = {}
    names: dict[str, None] = {}  # a set that keeps the order
    for key, value in [field for field in fields if field[0] in PARAMETER_KEYS]:
        name, colon, text = value.partition(":")
        if colon:
            names[name] = None
            (descriptions if key == "parm" else types)[name] = text
    return tuple([Parameter(name, descriptions.get(name), types.get(name)) for name in names])


def invalid_parameters(fields: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return the parm and parmtype fields that name no parameter."""
    return [(key, value) for key, value in fields if key in PARAMETER_KEYS and ":" not in value]


PARAMETER_KEYS = ("parm", "parmtype")


def _hex(data: bytes) -> str:
    """Return bytes as libkmod prints them: upper case, colons between, 20 to a line."""
    text = data.hex(":").upper()
    return "\n\t\t".join([text[at : at + 60] for at in range(0, len(text), 60)])
