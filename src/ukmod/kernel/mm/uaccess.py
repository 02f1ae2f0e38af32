"""Copies between user and kernel memory: lib/usercopy.c, arch/x86/lib/getuser.S and similar files.

There is one address space. User memory is what ``k.user`` has allocated below USER_END; any other user
address is -EFAULT, as in a process without a mapping there.
"""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOMEM, ERANGE
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.mm.gfp import GFP_NOWARN, GFP_USER
from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.kernel.mm.util import kvfree, kvmalloc_node
from ukmod.machine.abi import Bool, Int, Long, Ptr, SizeT, UInt, ULong
from ukmod.machine.area import Area
from ukmod.machine.memory import KERNEL_START, PAGE_SIZE, Fault, Memory
from ukmod.machine.registers import MASK64
from ukmod.machine.stubs import RET
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

USER_END: Final = 0x7FFF_FFFF_F000
"""TASK_SIZE_MAX, arch/x86/include/asm/page_64_types.h."""
_VSYSCALL: Final = 0xFFFF_FFFF_FF60_0000
"""The page of VSYSCALL_ADDR, which counts as user memory."""
_USER_BASE, _USER_SIZE = 0x1000_0000, 1 << 30
_MINUS_EFAULT: Final = b"\xf2\xff\xff\xff"
_USERCOPY: Final = Site("mm/usercopy.c", 101, "usercopy_abort")


@record
class Native:
    """Machine code that may fault at offset ``fault`` and then continues at offset ``fixup``."""

    code: bytes
    fault: int
    fixup: int


def _get_user(load: bytes) -> Native:
    """__get_user_N: address in RAX; returns the value in RDX and the error in RAX; preserves the rest."""
    check = b"\x48\x85\xc0\x78" + bytes((len(load) + 3,))  # test %rax,%rax; js bad
    good = check + load + b"\x31\xc0" + RET  # xor %eax,%eax
    bad = b"\x31\xd2\x48\xc7\xc0" + _MINUS_EFAULT + RET  # xor %edx,%edx; mov $-EFAULT,%rax
    return Native(good + bad, len(check), len(good))


def _put_user(store: bytes) -> Native:
    """__put_user_N: value in RAX, address in RCX; returns the error in RCX; preserves the rest."""
    check = b"\x48\x85\xc9\x78" + bytes((len(store) + 3,))  # test %rcx,%rcx; js bad
    good = check + store + b"\x31\xc9" + RET  # xor %ecx,%ecx
    return Native(good + b"\x48\xc7\xc1" + _MINUS_EFAULT + RET, len(check), len(good))


_LOADS = {1: b"\x0f\xb6\x10", 2: b"\x0f\xb7\x10", 4: b"\x8b\x10", 8: b"\x48\x8b\x10"}
_STORES = {1: b"\x88\x01", 2: b"\x66\x89\x01", 4: b"\x89\x01", 8: b"\x48\x89\x01"}
# rep movsb, rep stosb: RCX counts the remaining bytes, which is also the result.
_MOVE, _CLEAR = Native(b"\xf3\xa4\xc3", 0, 2), Native(b"\xf3\xaa\xc3", 0, 2)
NATIVE: Final[dict[str, Native]] = {
    **{f"__get_user_{n}": _get_user(load) for n, load in _LOADS.items()},
    **{f"__get_user_nocheck_{n}": _get_user(load) for n, load in _LOADS.items()},
    **{f"__put_user_{n}": _put_user(store) for n, store in _STORES.items()},
    **{f"__put_user_nocheck_{n}": _put_user(store) for n, store in _STORES.items()},
    "rep_movs_alternative": _MOVE,
    "rep_stos_alternative": _CLEAR,
    "clear_user_original": _CLEAR,
    "clear_user_rep_good": _CLEAR,
    "clear_user_erms": _CLEAR,
}
"""Functions in machine code, because their callers rely on more preserved registers than a C function's."""


class UserMemory:
    """The user memory of the process that calls into a module, for tests and the system calls they make."""

    def __init__(self, kernel: Core) -> None:
        self._memory = kernel.memory
        self._area = Area(kernel.memory, _USER_BASE, _USER_SIZE)
        self.fixups: dict[int, int] = {}
        """Where a native function continues after a fault, by the address of the faulting instruction."""
        for name, native in NATIVE.items():
            address = kernel.symbols.add_native(name, native.code).address
            self.fixups[address + native.fault] = address + native.fixup

    def alloc(self, content: bytes | int) -> int:
        """Map user memory that holds ``content``, or that many zero bytes; returns its address."""
        data = bytes(content) if isinstance(content, int) else content
        address = self._area.alloc(max(len(data), 1))
        self._memory.write(address, data)
        return address

    def free(self, address: int) -> None:
        """Unmap the result of ``alloc``."""
        self._area.free(address)


def access_ok(address: int, size: int) -> bool:
    """access_ok(): True if the range is in the user half of the address space."""
    return size <= USER_END and address <= USER_END - size


def mapped(memory: Memory, address: int, size: int, *, write: bool = False) -> int:
    """The number of bytes from ``address``, at most ``size``, that can be accessed without a fault."""
    done = 0
    while done < size:
        try:
            memory.translate(address + done, write=write)
        except Fault:
            break
        done += PAGE_SIZE - (address + done) % PAGE_SIZE
    return min(done, size)


def copy(k: Core, to: int, source: int, size: int, *, to_user: bool) -> int:
    """raw_copy_to_user() or raw_copy_from_user(): the number of bytes not copied.

    Raises Fault if the kernel's side of the copy faults.
    """
    memory = k.memory
    user = to if to_user else source
    length = mapped(memory, user, size, write=to_user) if access_ok(user, size) else 0
    if length:
        memory.write(to, memory.read(source, length))
    return size - length


def put_user(k: Core, address: int, value: int) -> bool:
    """put_user() of an int: False for -EFAULT."""
    if not access_ok(address, 4):
        return False
    try:
        k.memory.set_u32(address, value)
    except Fault:
        return False
    return True


def user_string(k: Core, address: int, limit: int) -> bytes | None:
    """A user string without its NUL, cut to ``limit`` bytes; None if a fault precedes its end."""
    length = mapped(k.memory, address, min(limit, USER_END - address)) if access_ok(address, 1) else 0
    content = k.memory.read(address, length) if length else b""
    end = content.find(b"\0")
    if end >= 0:
        return content[:end]
    return content if length == limit else None


def copied_string(k: Core, address: int, size: int) -> bytes | None:
    """The string in a copy of ``size`` bytes of user memory, all of which are read; None if that faults."""
    if not access_ok(address, size) or mapped(k.memory, address, size) < size:
        return None
    return k.memory.read(address, size).partition(b"\0")[0]


@export("_copy_from_user", native=True)
def copy_from_user(k: Core, to: Ptr, source: Ptr, size: ULong) -> ULong:
    """unsigned long _copy_from_user(void *to, const void __user *from, unsigned long n): zeroes the rest."""
    left = copy(k, to, source, size, to_user=False)
    if left:
        k.memory.fill(to + size - left, 0, left)
    return left


@export("_copy_to_user", native=True)
def copy_to_user(k: Core, to: Ptr, source: Ptr, size: ULong) -> ULong:
    """unsigned long _copy_to_user(void __user *to, const void *from, unsigned long n)."""
    return copy(k, to, source, size, to_user=True)


@export(
    "copy_user_generic_unrolled",
    "copy_user_generic_string",
    "copy_user_enhanced_fast_string",
    "__copy_user_nocache",
    native=True,
)
def copy_user_generic(k: Core, to: Ptr, source: Ptr, size: UInt) -> ULong:
    """unsigned long copy_user_generic(void *to, const void *from, unsigned len): either side may fault."""
    length = min(mapped(k.memory, source, size), mapped(k.memory, to, size, write=True))
    if length:
        k.memory.write(to, k.memory.read(source, length))
    return size - length


@export("clear_user", "__clear_user", native=True)
def clear_user(k: Core, to: Ptr, size: ULong) -> ULong:
    """unsigned long clear_user(void __user *to, unsigned long n)."""
    length = mapped(k.memory, to, size, write=True) if access_ok(to, size) else 0
    if length:
        k.memory.fill(to, 0, length)
    return size - length


@export(native=True)
def strncpy_from_user(k: Core, to: Ptr, source: Ptr, count: Long) -> Long:
    """long strncpy_from_user(char *dst, const char __user *src, long count): the length without the NUL."""
    if count <= 0:
        return 0
    if (text := user_string(k, source, count)) is None:
        return -EFAULT
    k.memory.write(to, text + b"\0" if len(text) < count else text)
    return len(text)


@export(native=True)
def strnlen_user(k: Core, address: Ptr, count: Long) -> Long:
    """long strnlen_user(const char __user *, long count): length with the NUL; more than count if cut."""
    if count <= 0:
        return 0
    text = user_string(k, address, count)
    return 0 if text is None else len(text) + 1


def _duplicate(k: Core, to: int, address: int, size: int, terminator: bytes = b"") -> int:
    """Fill ``to``, the result of an allocation, from user memory; frees it if that fails."""
    if not to:
        return -ENOMEM
    if size and copy(k, to, address, size, to_user=False):
        kvfree(k, to)
        return -EFAULT
    if terminator:
        k.memory.write(to + size, terminator)
    return to


@export("memdup_user", "memdup_user_noprof", native=True)
def memdup_user(k: Core, address: Ptr, size: SizeT) -> Ptr:
    """void *memdup_user(const void __user *src, size_t len): the copy, or an ERR_PTR()."""
    return _duplicate(k, k.slab.kmalloc(size, GFP_USER | GFP_NOWARN), address, size)


@export("vmemdup_user", "vmemdup_user_noprof", native=True)
def vmemdup_user(k: Core, address: Ptr, size: SizeT) -> Ptr:
    """void *vmemdup_user(const void __user *src, size_t len): the copy, for kvfree(), or an ERR_PTR()."""
    return _duplicate(k, kvmalloc_node(k, size, GFP_USER, -1), address, size)


@export(native=True)
def memdup_user_nul(k: Core, address: Ptr, size: SizeT) -> Ptr:
    """void *memdup_user_nul(const void __user *src, size_t len): the copy, and a NUL behind it."""
    return _duplicate(k, k.slab.kmalloc(size + 1 & MASK64), address, size, b"\0")


@export(native=True)
def strndup_user(k: Core, address: Ptr, limit: Long) -> Ptr:
    """char *strndup_user(const char __user *s, long n): -EINVAL if the string is longer."""
    length = strnlen_user(k, address, limit)
    if not length:
        return -EFAULT
    if length > limit:
        return -EINVAL
    return _duplicate(k, k.slab.kmalloc(length, GFP_USER | GFP_NOWARN), address, length - 1, b"\0")


@export(gpl=True, native=True)
def copy_from_kernel_nofault(k: Core, to: Ptr, source: Ptr, size: SizeT) -> Long:
    """long copy_from_kernel_nofault(void *dst, const void *src, size_t size)."""
    if source < KERNEL_START or source & -PAGE_SIZE == _VSYSCALL:
        return -ERANGE
    if mapped(k.memory, source, size) < size:
        return -EFAULT
    k.memory.write(to, k.memory.read(source, size))
    return 0


@export(gpl=True, native=True)
def copy_from_user_nofault(k: Core, to: Ptr, source: Ptr, size: SizeT) -> Long:
    """long copy_from_user_nofault(void *dst, const void __user *src, size_t size)."""
    return -EFAULT if copy(k, to, source, size, to_user=False) else 0


@export(gpl=True, native=True)
def copy_to_user_nofault(k: Core, to: Ptr, source: Ptr, size: SizeT) -> Long:
    """long copy_to_user_nofault(void __user *dst, const void *src, size_t size)."""
    return -EFAULT if copy(k, to, source, size, to_user=True) else 0


@export(native=True)
def check_zeroed_user(k: Core, address: Ptr, size: SizeT) -> Int:
    """int check_zeroed_user(const void __user *from, size_t size): 1 if all bytes are zero.

    A byte that is not zero is found before a later page that cannot be read.
    """
    length = mapped(k.memory, address, size) if access_ok(address, size) else 0
    if length and any(k.memory.read(address, length)):
        return 0
    return 1 if length == size else -EFAULT


@export("__check_object_size", native=True)
def check_object_size(k: Core, address: Ptr, size: ULong, to_user: Bool) -> None:
    """void __check_object_size(const void *ptr, unsigned long n, bool to_user): mm/usercopy.c."""
    if not size:
        return
    if address + size - 1 >= 1 << 64:
        _abort(k, "wrapped address", "", address, size, to_user=to_user)
    if address <= ZERO_SIZE_PTR:
        _abort(k, "null address", "", address, size, to_user=to_user)
    item = k.slab.fence.object_near(address)
    if item is not None and item.freed is None and item.address <= address < item.address + item.size:
        offset = address - item.address
        allowed = k.caches.user_range(item)
        if not (allowed.start <= offset and offset + size <= allowed.stop):
            _abort(k, "SLUB object", item.cache, offset, size, to_user=to_user)


def _abort(k: Core, what: str, name: str, offset: int, size: int, *, to_user: bool) -> NoReturn:
    """usercopy_abort()."""
    attempt = "exposure attempt detected from" if to_user else "overwrite attempt detected to"
    detail = f" '{name}'" if name else ""
    k.printk(f"usercopy: Kernel memory {attempt} {what}{detail} (offset {offset}, size {size})!\n", 0)
    k.crash.bug(_USERCOPY)
