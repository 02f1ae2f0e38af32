"""Sysctls and the files of /proc and /sys."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT

import pytest

from ukmod.errors import UsageError
from ukmod.kernel.core import Core


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5 6", 5),
        ("5\t\n7", 5),
        ("5", 5),
        ("-1", -1),
        ("0x10\n", 16),
        ("010", 8),
        (" 7 ", 7),
        ("0", 0),
        ("2147483647", 2**31 - 1),
    ],
)
def test_numbers_are_read_as_in_c(kernel: Core, text: str, value: int) -> None:
    kernel.procfs.write("/proc/sys/kernel/panic", text)
    assert kernel.procfs.read("/proc/sys/kernel/panic") == f"{value}\n"
    assert kernel.crash.panic_timeout == value


@pytest.mark.parametrize("text", ["\n", "x", "1_0", "5x", "08", "--1", "2147483648", "\u0661"])
def test_what_is_no_int_is_invalid_and_changes_nothing(kernel: Core, text: str) -> None:
    kernel.sysctl["kernel.panic"] = "3"
    with pytest.raises(OSError) as error:  # noqa: PT011  errno is looked at
        kernel.procfs.write("/proc/sys/kernel/panic", text)
    assert error.value.errno == EINVAL
    with pytest.raises(UsageError):
        kernel.sysctl["kernel.panic"] = text
    assert kernel.sysctl["kernel.panic"] == "3"


@pytest.mark.parametrize("name", ["osrelease", "tainted"])
def test_a_read_only_file_refuses_even_root(kernel: Core, name: str) -> None:
    with pytest.raises(PermissionError) as error:
        kernel.procfs.write(f"/proc/sys/kernel/{name}", "1")
    assert error.value.errno == EACCES


def test_modules_disabled_cannot_be_taken_back(kernel: Core) -> None:
    path = "/proc/sys/kernel/modules_disabled"
    for text in ("0", "2"):
        with pytest.raises(OSError, match="cannot be cleared"):
            kernel.procfs.write(path, text)
        assert kernel.procfs.read(path) == "0\n"
    kernel.procfs.write(path, "1\n")
    assert kernel.procfs.read(path) == "1\n"
    assert kernel.modules.disabled


def test_the_path_of_modprobe_ends_at_a_newline_and_at_255_bytes(kernel: Core) -> None:
    kernel.procfs.write("/proc/sys/kernel/modprobe", "/bin/other\nmore")
    assert kernel.requests.modprobe_path == "/bin/other"
    kernel.procfs.write("/proc/sys/kernel/modprobe", "x" * 300)
    assert kernel.requests.modprobe_path == "x" * 255


def test_printk_takes_its_first_number(kernel: Core) -> None:
    kernel.procfs.write("/proc/sys/kernel/printk", "3 4 1 7")
    assert kernel.procfs.read("/proc/sys/kernel/printk").split()[0] == "3"


@pytest.mark.parametrize(
    "path", ["/proc/none", "/proc/sys/kernel/none", "/sys/module/none/refcnt", "/sys/module/none"]
)
def test_what_is_not_there(kernel: Core, path: str) -> None:
    with pytest.raises(FileNotFoundError) as error:
        kernel.procfs.read(path)
    assert error.value.errno == ENOENT


def test_unknown_names(kernel: Core) -> None:
    with pytest.raises(UsageError, match=r"kernel\.none: no such sysctl"):
        kernel.sysctl["kernel.none"]
    with pytest.raises(UsageError, match="no such sysctl"):
        kernel.sysctl["kernel.none"] = "1"
    with pytest.raises(UsageError, match="read-only"):
        kernel.sysctl["kernel.tainted"] = "1"
