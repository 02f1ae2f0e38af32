"""What functions return that are given nothing: lengths of 0, and the pointer that kmalloc(0) returns.

That pointer may be passed on with its length, but never dereferenced. Each exported function of lib/ and mm/
that takes a pointer and a length is called so, or is named here with the reason why it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from errno import E2BIG, EFAULT, EINVAL, ENOMEM, ERANGE
from typing import Any, Final

from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.machine.abi import CStr, Ptr, VarArgs
from ukmod.machine.registers import MASK64

NAMES_OF_LENGTHS: Final = {"bits", "count", "length", "limit", "room", "size"}
"""Parameters with these names are lengths, whatever type they have; a SizeT always is one."""


@dataclass(frozen=True)
class Function:
    """An exported function, and the types of its parameters and its result."""

    name: str
    call: Callable[..., Any]
    native: bool
    """With an image there are two: the image's own and the one in Python."""

    def __str__(self) -> str:
        return self.name

    def type_of(self, name: str) -> Any:
        """The C type that a parameter, or ``return``, is annotated with."""
        return self.call.__globals__.get(self.call.__annotations__[name])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, without the kernel and a variadic function's rest."""
        code = self.call.__code__
        names = code.co_varnames[1 : code.co_argcount]
        return tuple(name for name in names if self.type_of(name) is not VarArgs)

    def takes_a_length(self) -> bool:
        """Does it take a pointer, and the length of what is there?"""
        types = {name: self.call.__annotations__[name] for name in self.parameters}
        numbers = {name for name, kind in types.items() if kind != "Ptr"}
        return len(numbers) < len(types) and ("SizeT" in types.values() or bool(numbers & NAMES_OF_LENGTHS))

    def arguments(self) -> list[int | bytes]:
        """A pointer that must not be dereferenced for each pointer; 0 for each number; empty strings."""
        given = GIVEN.get(self.name, {})
        empty: dict[Any, int | bytes] = {Ptr: ZERO_SIZE_PTR, CStr: b""}
        return [given.get(name, empty.get(self.type_of(name), 0)) for name in self.parameters]

    @property
    def result(self) -> int | None:
        """What it returns; None: the address of a new object."""
        return RESULTS.get(self.name, 0)


def functions() -> list[Function]:
    """The exported functions of lib/ and mm/ that take a pointer and a length."""
    found = [
        Function(name, function, exported.native)
        for name, (exported, function) in sorted(kernel_functions().items())
        if function.__module__.startswith(("ukmod.kernel.lib.", "ukmod.kernel.mm."))
    ]
    return [function for function in found if function.takes_a_length()]


_SAME: Final = (
    "__memcpy", "__memmove", "__memset", "bin2hex", "kmemdup", "kmemdup_noprof", "krealloc",
    "krealloc_noprof", "krealloc_node_align_noprof", "kvrealloc", "kvrealloc_noprof",
    "kvrealloc_node_align_noprof", "memcpy", "memdup_user", "memdup_user_noprof",
    "memmove", "memscan", "memset", "memset16", "memset32", "memset64", "strncat", "strncpy", "strnstr",
    "vmemdup_user", "vmemdup_user_noprof",
)  # fmt: skip

RESULTS: Final[Mapping[str, int | None]] = {
    **dict.fromkeys(_SAME, ZERO_SIZE_PTR),
    **dict.fromkeys(("kmemdup_nul", "kstrndup", "memdup_user_nul"), None),
    **dict.fromkeys(("__bitmap_equal", "__bitmap_subset", "check_zeroed_user"), 1),
    **dict.fromkeys(("strscpy", "strscpy_pad", "sized_strscpy"), -E2BIG),
    **dict.fromkeys(("__sysfs_match_string", "match_string", "__kfifo_init"), -EINVAL),
    **{
        f"kstrto{kind}_from_user": -EINVAL
        for kind in ("bool", "int", "l", "ll", "s16", "s8", "u16", "u8", "uint", "ul", "ull")
    },
    "bitmap_find_free_region": -ENOMEM,
    "bitmap_print_to_pagebuf": len("(efault)\n"),
    "copy_from_kernel_nofault": -ERANGE,  # so low an address is no kernel's
    "hex_dump_to_buffer": -1,
    "string_get_size": len("0 B"),
    "strndup_user": -EFAULT & MASK64,  # an ERR_PTR()
}
"""What is not 0, or NULL."""

_FIFO: Final = {"fifo": bytes(24)}
GIVEN: Final[Mapping[str, Mapping[str, int | bytes]]] = {
    **dict.fromkeys(("__kfifo_in", "__kfifo_out", "__kfifo_out_peek"), _FIFO),
    "__kfifo_init": {**_FIFO, "esize": 1},
    "bitmap_print_to_pagebuf": {"buffer": bytes(10)},
    "crc8": {"table": bytes(256)},
    "string_escape_mem": {"only": b""},
    "string_unescape": {"src": b"", "dst": b"q"},
}
"""Arguments that are not empty: structures, and buffers that are written to even if there is no length."""

LEFT_OUT: Final[Mapping[str, str]] = {
    "__kfifo_alloc": "its pointer is a structure, and it allocates what the length says",
    "get_options": "it then counts, and stores the count in its array all the same",
    "strlcat": "BUG: a destination that ends behind its buffer",
    **dict.fromkeys(
        ("kmem_cache_alloc_bulk", "kmem_cache_alloc_bulk_noprof", "kmem_cache_free_bulk"),
        "its pointer is a cache, which has to be created",
    ),
    **dict.fromkeys(
        (
            "__kmalloc_cache_node_noprof",
            "__kmalloc_cache_noprof",
            "kmalloc_node_trace",
            "kmalloc_trace",
            "kmem_cache_alloc_node_trace",
            "kmem_cache_alloc_trace",
        ),
        "its pointer is the cache of the size's class, and 0 has no class",
    ),
    "__kmalloc_track_caller": "its pointer is the caller's address",
    **dict.fromkeys(
        ("kmem_cache_prefill_sheaf", "kmem_cache_refill_sheaf"),
        "its pointers are structures, of kernels that have struct slab_sheaf",
    ),
    "vrealloc_node_align_noprof": "vfree() warns of a pointer that vmalloc() did not return",
    **dict.fromkeys(
        (
            "__kmem_cache_create_args",
            "kmem_buckets_create",
            "kmem_cache_create",
            "kmem_cache_create_usercopy",
        ),
        "its pointer is a constructor or a structure, and the length is one of objects",
    ),
}
