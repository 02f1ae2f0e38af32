from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path

import pytest
from tests import signing
from tests.kmod import moduletree
from tests.kmod.moduletree import module

from ukmod import cli
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools import depmod


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two modules, their indexes and a blacklist."""
    modules = {
        "base": module(name="base", exports={"base_fn": 7}),
        "user": module("alias=net-pf-9", name="user", needs=["base_fn", "printk"]),
    }
    moduletree.write(tmp_path, **modules)
    assert depmod.main(["depmod", "-b", str(tmp_path), "4.4.4"], LinuxHost()) == 0
    (tmp_path / "etc/modprobe.d").mkdir(parents=True)
    (tmp_path / "etc/modprobe.d/x.conf").write_text("blacklist user\n")
    return tmp_path


def explain(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "explain", "-d", str(root), "-S", "4.4.4", *arguments])


def test_the_account_names_the_line_that_decides(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(root, "net-pf-9") == 1
    output = capsys.readouterr().out
    assert output.startswith("net-pf-9: user: would not be loaded\n")
    assert f"({root}/etc/modprobe.d/x.conf:1)" in output


def test_a_name_is_loaded_all_the_same_but_for_b(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(root, "user") == 0
    assert "user: would be loaded\n  1. load " in capsys.readouterr().out
    assert explain(root, "-b", "user") == 1


def test_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(root, "--json", "base", "nothing") == 3
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.explain/1"
    base, nothing = document["words"]
    assert (base["verdict"], base["targets"][0]["outcome"]) == ("loaded", "loads")
    assert (nothing["verdict"], nothing["targets"]) == ("not found", [])


def test_the_exit_status_tells_the_verdicts_apart(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/modprobe.d/y.conf").write_text("install user /opt/nobody-knows\n")
    assert explain(root, "base") == 0
    assert explain(root, "base", "net-pf-9") == 1
    assert explain(root, "net-pf-9", "user") == 2
    assert explain(root, "user", "usr") == 3
    assert "user: cannot tell\n  cannot tell: it runs /opt/nobody-knows\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["-S", "4.4.5", "user"], ["--nosuch", "user"], [], ["--cmdline", "/no/such", "user"]],
    ids=["release", "option", "no word", "file"],
)
def test_a_mistake_is_not_an_answer(
    root: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(["ukmod", "explain", "-d", str(root), *arguments])
    except SystemExit as done:
        status = done.code  # type: ignore[assignment]
    assert status == 3
    assert "would" not in capsys.readouterr().out


def test_a_root_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "explain", "-d", "/no/such", "user"]) == 3
    assert capsys.readouterr().err == "ukmod explain: /no/such: cannot be read: No such file or directory\n"


def test_what_ukmod_itself_does_not_unpack_may_be_loaded_all_the_same(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = root / "lib/modules/4.4.4/kernel/user.ko"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    plain.with_suffix(".ko.xz").write_bytes(
        lzma.compress(plain.read_bytes(), check=lzma.CHECK_CRC32, filters=filters)
    )
    plain.unlink()
    assert cli.main(["ukmod", "depmod", "-b", str(root), "4.4.4"]) == 0
    capsys.readouterr()
    assert explain(root, "user") == 2
    assert "needs more than 128 MiB of memory to unpack" in capsys.readouterr().out


def test_several_kernels_are_not_an_answer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/modules/5.5.5/kernel").mkdir(parents=True)
    assert cli.main(["ukmod", "explain", "-d", str(root), "user"]) == 3
    assert "name one of 4.4.4, 5.5.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cmdline", "status", "said"),
    [
        ("module_blacklist=user", 1, "the kernel refuses user: module_blacklist= (--cmdline)"),
        ("module_blacklist=base", 1, "modprobe has given up on user by then"),
        ("module_blacklist=us,er", 0, "would be loaded"),
        ("module_blacklist=user module_blacklist=other", 0, "would be loaded"),
        ("module-blacklist=user", 1, "the kernel refuses user"),
        ("-- module_blacklist=user", 0, "would be loaded"),
        ("nomodule", 1, "the kernel loads no module at all: nomodule"),
        ("nomodule nomodule=0", 0, "would be loaded"),
        ("sysctl.kernel.modules_disabled=1", 1, "the kernel loads no module at all: sysctl"),
        ("initcall_blacklist=x,init_module", 0, "would be loaded"),
        ("module.sig_enforce=1", 2, "whether the kernel is built to refuse unsigned modules"),
        ("user.debug=1", 0, "options debug=1 (--cmdline)"),
    ],
)
def test_the_kernel_s_command_line(
    root: Path, cmdline: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(root, "--cmdline", cmdline, "user") == status
    assert said in capsys.readouterr().out
    (root / "cmdline").write_text(cmdline + "\n")
    assert explain(root, "--cmdline", str(root / "cmdline"), "user") == status


def test_kernel_modules_disabled_of_sysctl_d_holds_from_its_time_on(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/sysctl.d").mkdir()
    (root / "etc/sysctl.d/a.conf").write_text("kernel.modules_disabled = 1\n")
    assert explain(root, "user") == 2
    assert "no module any more once kernel.modules_disabled=1 is applied" in capsys.readouterr().out


def test_symvers_of_the_tree_or_by_option(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = root / "lib/modules/4.4.4/build"
    build.mkdir()
    (build / "Module.symvers").write_text("0x1\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n")
    assert explain(root, "user") == 1
    assert "printk: nobody exports it; there is _printk" in capsys.readouterr().out
    (root / "symvers").write_text("0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n")
    assert explain(root, "--symvers", str(root / "symvers"), "user") == 0


def test_symvers_may_lie_beside_an_archive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    with tarfile.open(outside / "root.tar", "w") as archive:
        archive.add(root, ".")
    for symbol, status in (("printk", 0), ("_printk", 1)):
        (outside / "symvers").write_text(f"0x1\t{symbol}\tvmlinux\tEXPORT_SYMBOL\t\n")
        assert explain(outside / "root.tar", "--symvers", str(outside / "symvers"), "user") == status


def test_certificates(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "key.pem").write_bytes(signing.signer().pem)
    assert explain(root, "--cert", str(root / "key.pem"), "base") == 1
    (root / "signed.ko").write_bytes(signing.sign(module(name="signed"), signing.signer()))
    assert explain(root, "--cert", str(root / "key.pem"), str(root / "signed.ko")) == 0
    assert "signed by Example key (sha256): the signature is good" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["/none.ko"], ["--symvers", "/none", "base"], ["--cert", "/none", "base"]]
)
def test_files_that_are_not_there(
    root: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(root, *arguments) == cli.NOT_RUN
    assert capsys.readouterr().err.startswith("ukmod explain: /none")
