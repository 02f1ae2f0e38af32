"""The kernel command lines of an image, as its boot loader has them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from ukmod.kmod.boot import boot_arguments
from ukmod.kmod.rooted import files_below

RELEASE = "6.1.0-9-amd64"
GRUB = """\
set default="0"
set extra="module_blacklist=dccp"
menuentry 'Debian' {
	linux	/boot/vmlinuz-6.1.0-9-amd64 root=UUID=1 ro  quiet $extra
	initrd	/boot/initrd.img-6.1.0-9-amd64
}
menuentry 'Debian (recovery)' {
	linux	/boot/vmlinuz-6.1.0-9-amd64 root=UUID=1 ro single "a.b=c d" $unset
}
menuentry 'older' {
	linux	/boot/vmlinuz-5.10.0-1-amd64 root=UUID=1 nomodule
}
"""


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def found(root: Path) -> list[tuple[str, str]]:
    """Return (command line, file:line below the root) of each entry."""
    entries = boot_arguments(files_below(str(root)), str(root), RELEASE)
    return [(one.text, str(one.source).removeprefix(f"{root}/")) for one in entries]


def unified(*sections: tuple[str, str]) -> bytes:
    """Return a PE file with the sections that a boot stub reads."""
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64)
    head += b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 8, 0) + bytes(8)
    at, table, body = 512, b"", b""
    for name, content in sections:
        text = content.encode() + b"\n\0"
        table += name.encode().ljust(8, b"\0")
        table += struct.pack("<4I", len(text), 0, 64, at + len(body)) + bytes(16)
        body += text.ljust(64, b"\0")
    return (head + table).ljust(at, b"\0") + body


UNAME = (".uname", RELEASE)


def test_grub_s_entries_for_the_kernel_count_and_variables_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, {"boot/grub/grub.cfg": GRUB})
    assert found(tmp_path) == [
        ("root=UUID=1 ro quiet module_blacklist=dccp", "boot/grub/grub.cfg:4"),
        ('root=UUID=1 ro single "a.b=c d"', "boot/grub/grub.cfg:8"),
    ]


@pytest.mark.parametrize("linux", [f"/vmlinuz-{RELEASE}", f"/0123/{RELEASE}/linux"])
def test_a_loader_entry_with_the_options_that_grub_keeps(tmp_path: Path, linux: str) -> None:
    entry = f"title Fedora\nversion {RELEASE}\nlinux {linux}\noptions $kernelopts nomodule\noptions quiet\n"
    grubenv = "# GRUB Environment Block\nkernelopts=root=/dev/sda ro\n####"
    write(tmp_path, {"boot/loader/entries/a.conf": entry, "boot/grub2/grubenv": grubenv})
    assert found(tmp_path) == [("root=/dev/sda ro nomodule quiet", "boot/loader/entries/a.conf:5")]


def test_a_loader_entry_with_the_options_that_grub_cfg_sets(tmp_path: Path) -> None:
    entry = f"linux /vmlinuz-{RELEASE}\noptions $kernelopts $tuned_params quiet\n"
    grub = 'set kernelopts="root=/dev/sda \\\nnomodule"\nblscfg\n'
    write(tmp_path, {"boot/loader/entries/a.conf": entry, "boot/efi/EFI/fedora/grub.cfg": grub})
    assert [text.split() for text, _ in found(tmp_path)] == [["root=/dev/sda", "nomodule", "quiet"]]


def test_a_unified_kernel_image_with_addons(tmp_path: Path) -> None:
    addons = "efi/EFI/Linux/debian.efi.extra.d"
    write(
        tmp_path,
        {
            "efi/EFI/Linux/debian.efi": unified(UNAME, (".cmdline", "root=x module_blacklist=a")),
            f"{addons}/b.addon.efi": unified((".cmdline", "nomodule")),
            f"{addons}/c.addon.efi": unified((".cmdline", "other"), (".uname", "5.5.5")),
            f"{addons}/c.efi": unified((".cmdline", "no-addon")),
            "efi/loader/addons/d.addon.efi": unified((".cmdline", "for-all")),
            "boot/loader/addons/e.addon.efi": unified((".cmdline", "of-another-partition")),
            "efi/EFI/Linux/other.efi": unified((".uname", "5.5.5"), (".cmdline", "quiet")),
            "efi/EFI/Linux/damaged.efi": b"MZ" + bytes(58) + b"\xff\xff\xff\xff",
        },
    )
    line = "root=x module_blacklist=a nomodule for-all"
    assert found(tmp_path) == [(line, "efi/EFI/Linux/debian.efi")]


def test_each_profile_of_a_unified_kernel_image(tmp_path: Path) -> None:
    profiles = [(".profile", "ID=a"), (".profile", "ID=b"), (".cmdline", "nomodule")]
    write(tmp_path, {"efi/EFI/Linux/a.efi": unified(UNAME, (".cmdline", "quiet"), *profiles)})
    assert [text for text, _ in found(tmp_path)] == ["quiet", "nomodule"]


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        ("uki /own.efi\n", ["quiet"]),
        ("efi /own.efi\noptions nomodule\n", ["quiet", "nomodule"]),
    ],
)
def test_a_loader_entry_for_a_unified_kernel_image(tmp_path: Path, entry: str, lines: list[str]) -> None:
    image = unified(UNAME, (".cmdline", "quiet"))
    write(tmp_path, {"efi/loader/entries/a.conf": entry, "efi/own.efi": image})
    write(tmp_path, {"efi/EFI/Linux/other.efi": unified((".uname", "5.5.5"))})
    assert [text for text, _ in found(tmp_path)] == lines


def test_labels_of_extlinux_have_their_own_line_or_the_common_one(tmp_path: Path) -> None:
    text = (
        "DEFAULT a\nAPPEND ro nomodule\n\n"
        f"LABEL a\n\tMENU LABEL Debian\n\tLINUX ../vmlinuz-{RELEASE}\n\tappend root=/dev/sda quiet\n"
        f"label b\n  kernel /boot/vmlinuz-{RELEASE}\n"
        f"label c\n  kernel /boot/vmlinuz-{RELEASE}\n  append -\n"
        "label d\n  kernel /boot/vmlinuz-5.5.5\n  append other\n"
    )
    write(tmp_path, {"boot/extlinux/extlinux.conf": text})
    assert found(tmp_path) == [
        ("root=/dev/sda quiet", "boot/extlinux/extlinux.conf:7"),
        ("ro nomodule", "boot/extlinux/extlinux.conf:8"),
        ("", "boot/extlinux/extlinux.conf:12"),
    ]


def test_a_link_to_the_kernel_is_followed_below_the_root(tmp_path: Path) -> None:
    write(tmp_path, {f"boot/vmlinuz-{RELEASE}": b"", "boot/grub/grub.cfg": "linux /vmlinuz quiet\n"})
    (tmp_path / "vmlinuz").symlink_to(f"/boot/vmlinuz-{RELEASE}")
    assert found(tmp_path) == [("quiet", "boot/grub/grub.cfg:1")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("boot/grub/grub.cfg", "menuentry x {\n linux /a\0b quiet\n}\n"),
        ("boot/grub/grub.cfg", "source /a\0b\nset x=1\n"),
        ("boot/loader/entries/a.conf", "linux /a\0b\noptions quiet\n"),
        ("boot/extlinux/extlinux.conf", "label x\n linux /a\0b\n append quiet\n"),
    ],
)
def test_a_path_with_a_nul_leads_to_no_kernel(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path, {name: content})
    assert [text for text, _ in found(tmp_path)] == (["quiet"] if "quiet" in content else [])


def test_entries_that_name_no_release_count_if_no_other_does(tmp_path: Path) -> None:
    write(tmp_path, {"boot/grub/grub.cfg": "linux /bzImage quiet\nlinux /vmlinuz-5.5.5 nomodule\n"})
    assert found(tmp_path) == [("quiet", "boot/grub/grub.cfg:1")]


def test_a_root_without_a_boot_loader_has_no_command_line(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_without_a_boot_loader_kernel_install_will_make_one(tmp_path: Path) -> None:
    write(tmp_path, {"etc/kernel/cmdline": "root=x\nnomodule\n", "usr/lib/kernel/cmdline": "quiet\n"})
    assert found(tmp_path) == [("root=x nomodule", "etc/kernel/cmdline")]
    write(tmp_path, {"etc/kernel/cmdline": "root=x\n#nomodule\n"})
    assert [text for text, _ in found(tmp_path)] == ["root=x #nomodule", "root=x"]


DEFAULTS = """\
# If you change this file, run update-grub afterwards.
GRUB_DEFAULT=0
GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"
GRUB_CMDLINE_LINUX="module_blacklist=dccp"
"""


def test_without_grub_cfg_grub_mkconfig_will_make_one(tmp_path: Path) -> None:
    write(tmp_path, {"etc/default/grub": DEFAULTS})
    assert found(tmp_path) == [
        ("module_blacklist=dccp quiet splash", "etc/default/grub:5"),
        ("single module_blacklist=dccp", "etc/default/grub:5"),
    ]
    write(tmp_path, {"boot/grub/grub.cfg": GRUB})
    assert all(source.startswith("boot/grub/grub.cfg") for _text, source in found(tmp_path))


def test_files_beside_etc_default_grub_come_after_it(tmp_path: Path) -> None:
    more = 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX nomodule"\nGRUB_DISABLE_RECOVERY=true\n'
    write(tmp_path, {"etc/default/grub": DEFAULTS, "etc/default/grub.d/x.cfg": more})
    write(tmp_path, {"etc/default/grub.d/no": "GRUB_CMDLINE_LINUX=lost"})
    expected = "module_blacklist=dccp nomodule quiet splash"
    assert found(tmp_path) == [(expected, "etc/default/grub.d/x.cfg:1")]


@pytest.mark.parametrize(
    "line",
    [
        ". /etc/more",
        "if true; then GRUB_CMDLINE_LINUX=a; fi",
        "GRUB_CMDLINE_LINUX=$(cat /etc/a)",
        "x='",
        "f() {",
    ],
)
def test_a_default_that_only_a_shell_knows_is_no_answer(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"etc/default/grub": f"{DEFAULTS}{line}\n"})
    assert found(tmp_path) == []


def test_the_raspberry_pi_s_command_line(tmp_path: Path) -> None:
    write(tmp_path, {"boot/firmware/cmdline.txt": "console=tty1 module_blacklist=dccp\nnot read\n"})
    assert found(tmp_path) == [("console=tty1 module_blacklist=dccp", "boot/firmware/cmdline.txt:1")]


def test_the_lines_of_refind(tmp_path: Path) -> None:
    lines = '# "no" "line"\n"Boot normally" "ro quiet"\n"Say ""hi"""  "a=""b c"" nomodule"\n'
    write(tmp_path, {"boot/refind_linux.conf": lines})
    expected = [("ro quiet", "boot/refind_linux.conf:2"), ('a="b c" nomodule', "boot/refind_linux.conf:3")]
    assert found(tmp_path) == expected
