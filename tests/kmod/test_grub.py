"""GRUB's scripts: which kernels they start, with which command lines, as GRUB itself would."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.kmod.test_boot import RELEASE, write

from ukmod.kmod.boot import boot_arguments
from ukmod.kmod.grub.execution import execute
from ukmod.kmod.grub.variables import kernel_line
from ukmod.kmod.rooted import files_below

LINUX = f"linux /boot/vmlinuz-{RELEASE}"
SCRIPTS = {
    "a variable that is set behind the entry": (f"menuentry x {{\n{LINUX} $a\n}}\nset a=b\n", ["b"]),
    "an assignment without set": (f"a=b\n{LINUX} $a\n", ["b"]),
    "a variable of another entry": (
        f"menuentry x {{\nset a=b\n}}\nmenuentry y {{\n{LINUX} $a c\n}}\n",
        ["c"],
    ),
    "a variable that is taken back": (f"set a=b\nunset a\n{LINUX} $a c\n", ["c"]),
    "single quotes": (f"set a=b\n{LINUX} '$a'\n", ["$a"]),
    "an escaped dollar sign": (f"{LINUX} \\$a\n", ["$a"]),
    "several words of an unquoted variable": (f"set a='b c'\n{LINUX} x$a\n", ["xb c"]),
    "one word of a quoted variable": (f'set a="b c"\n{LINUX} "$a"\n', ['"b c"']),
    "a variable within a word": (f"set a=b\n{LINUX} x.${{a}}y\n", ["x.by"]),
    "quotes that are to reach the kernel": (f"{LINUX} 'a=\"b c\"'\n", ['"a=\\"b c\\""']),
    "an escaped byte": (f"{LINUX} 'a\\x20b\\y'\n", ["a\\x20b\\\\y"]),
    "a semicolon": (f"{LINUX} a; echo b\n", ["a"]),
    "an entry on one line": (f"menuentry x {{ {LINUX} a; initrd /b; }}\n", ["a"]),
    "a comment": (f"{LINUX} a # b\n#{LINUX} c\n", ["a"]),
    "a hash within a word": (f"{LINUX} a#b\n", ["a#b"]),
    "a line that is continued, and a word": (f"{LINUX} a \\\n b\\\nc\n", ["a bc"]),
    "a title on two lines": (f"menuentry 'a\nb' {{\n{LINUX} a\n}}\n", ["a"]),
    "a device before the path": (f"linux (hd0,gpt2)/vmlinuz-{RELEASE} a\n", ["a"]),
    "the kernel in a variable": (f"set v={RELEASE}\nlinux /vmlinuz-$v a\nlinux /vmlinuz-5.5.5 b\n", ["a"]),
    "a condition that nobody knows": (f"if [ -f /x ]; then\nset a=b\nfi\n{LINUX} $a c\n", ["b c", "c"]),
    "a condition about the machine": (
        f'if [ "$grub_platform" = efi ]; then a=b; elif insmod c; then a=d; else a=e; fi\n{LINUX} $a\n',
        ["b", "d", "e"],
    ),
    "a condition about a variable": (
        f'set a=b\nif [ "${{a}}" = b -a -z "$c" ]; then set d=e; else set d=f; fi\n{LINUX} $d\n',
        ["e"],
    ),
    "a condition that is negated": (f"if ! [ x != x ]; then {LINUX} a; else {LINUX} b; fi\n", ["a"]),
    "an exported variable in a submenu": (
        f"set a=b\nexport a\nsubmenu x {{\nmenuentry y {{\n{LINUX} $a\n}}\n}}\n",
        ["b"],
    ),
    "another variable in a submenu, which Fedora's GRUB has": (
        f"set a=b\nsubmenu x {{\nmenuentry y {{\n{LINUX} $a c\n}}\n}}\n",
        ["b c", "c"],
    ),
    "a variable that a submenu sets": (
        f"submenu x {{\nset a=b\nmenuentry y {{\n{LINUX} $a\n}}\n}}\n{LINUX} $a c\n",
        ["c", "b"],
    ),
    "a function": (f"function f {{\nset a=$1\n}}\n{LINUX} $a c\nf b\n{LINUX} $a\n", ["c", "b"]),
    "a function that starts the kernel": (f"function f {{\n{LINUX} $1\n}}\nmenuentry x {{\nf a\n}}\n", ["a"]),
    "a loop over words": (f'for i in a b; do\nset c="$c $i"\ndone\n{LINUX} $c\n', ["a b"]),
    "a loop that may not run": (f"while [ -f /x ]; do\nset a=b\ndone\n{LINUX} $a c\n", ["b c", "c"]),
    "the environment block": (f"load_env\n{LINUX} $kernelopts\n", ["root=x quiet"]),
    "an environment block that is not read": (f"{LINUX} a $kernelopts\n", ["a"]),
    "other variables of the environment block": (f"load_env saved_entry\n{LINUX} a $kernelopts\n", ["a"]),
    "an environment block that is there": (
        f"if [ -s $prefix/grubenv ]; then\nload_env -f $prefix/grubenv\nfi\n{LINUX} $kernelopts\n",
        ["root=x quiet"],
    ),
    "a file of one's own": ("source ${config_directory}/custom.cfg\n", ["custom"]),
    "a kernel of Xen": (
        f"multiboot2 /xen.gz p\nmodule2 /vmlinuz-{RELEASE} placeholder a\nmodule2 /initrd.img-{RELEASE}\n",
        ["placeholder a"],
    ),
    "a script that GRUB refuses": (f"if then }} {{ ' fi\n'\n{LINUX} a\n", ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_the_kernel_as_grub_does(tmp_path: Path, name: str) -> None:
    script, expected = SCRIPTS[name]
    grubenv = "# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=x \\quiet\n" + "#" * 900
    custom = f"menuentry own {{\n{LINUX} custom\n}}\n"
    files = {"grub.cfg": script, "grubenv": grubenv, "custom.cfg": custom}
    write(tmp_path, {f"boot/grub/{file}": text for file, text in files.items()})
    found = boot_arguments(files_below(str(tmp_path)), str(tmp_path), RELEASE)
    assert [one.text for one in found] == expected


FEDORA = """\
if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ -z "${kernelopts}" ]; then
  set kernelopts="root=x quiet"
fi
set tuned_params="tuned"
set default_kernelopts="default"
insmod blscfg
blscfg
"""


@pytest.mark.parametrize(
    ("options", "grubenv", "expected"),
    [
        ("options $kernelopts", "saved_entry=0\n", ["root=x quiet"]),
        ("options $kernelopts a", "kernelopts=nomodule\n", ["nomodule a"]),
        ("options a $tuned_params b", "", ["a tuned b"]),
        ("options $tuned_params_of_others", "", [""]),
        ("options 'a=b c'", "", ['"a=b c"']),
        ("# options a", "", ["default"]),
        ("options a\noptions b", "", ["a b", "a"]),
    ],
)
def test_a_loader_entry_has_the_variables_of_the_grub_that_shows_it(
    tmp_path: Path, options: str, grubenv: str, expected: list[str]
) -> None:
    write(
        tmp_path,
        {
            "boot/grub2/grub.cfg": FEDORA,
            "boot/grub2/grubenv": f"# GRUB Environment Block\n{grubenv}####",
            "boot/loader/entries/a.conf": f"title a\nlinux /vmlinuz-{RELEASE}\n{options}\n",
        },
    )
    found = boot_arguments(files_below(str(tmp_path)), str(tmp_path), RELEASE)
    assert [one.text for one in found] == expected


def test_what_calls_itself_or_grows_without_end_is_left(tmp_path: Path) -> None:
    scripts = (
        "function f { f; f; }\nf\n",
        "source $prefix/grub.cfg\n" * 9,
        "if " * 4_000,
        "menuentry x { " * 4_000,
        "a='\n" * 4_000,
        "a=1\n" + "a=$a$a\n" * 99 + f"{LINUX} $a\n",
        "".join(f"if x; then set a{n}=1; fi\n" for n in range(40))
        + f"{LINUX} " + " ".join(f"$a{n}" for n in range(40)),
    )  # fmt: skip
    for script in scripts:
        write(tmp_path, {"boot/grub/grub.cfg": script})
        execute(files_below(str(tmp_path)), str(tmp_path), f"{tmp_path}/boot/grub/grub.cfg")


@pytest.mark.parametrize("seed", range(20))
def test_no_text_is_too_strange(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    parts = [*"{}|&$;<> \t\n'\"\\#[]!=a1", "if ", "then ", "else ", "fi\n", "for ", "do ", "done\n"]
    parts += [
        "set a=",
        "${a}",
        "function ",
        "menuentry ",
        "submenu ",
        "linux ",
        "source ",
        "load_env ",
        "test ",
    ]
    text = "".join(random.choices(parts, k=400))
    write(tmp_path, {"boot/grub/grub.cfg": text})
    execute(files_below(str(tmp_path)), str(tmp_path), f"{tmp_path}/boot/grub/grub.cfg")
    kernel_line(text)
