"""modinfo against the C one, on every module of a distribution's kernel: the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import signing
from tests.real import debian

from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools import modinfo

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Capture:
    """A standard stream that keeps what it is given."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> None:
        self.parts.append(text)

    def flush(self) -> None:
        pass

    @property
    def data(self) -> bytes:
        return "".join(self.parts).encode("utf-8", "surrogateescape")


def ours(*arguments: str) -> tuple[int, bytes, bytes]:
    host = LinuxHost()
    host.stdout, host.stderr = out, err = Capture(), Capture()
    status = modinfo.main(["modinfo", *arguments], host)
    return status, out.data, err.data


def theirs(*arguments: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(["/sbin/modinfo", *arguments], capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.replace(b"/sbin/modinfo", b"modinfo")


def assert_same(*arguments: str) -> None:
    found, expected = ours(*arguments), theirs(*arguments)
    if found != expected:
        # A difference somewhere in ten megabytes is no message: find the first line.
        for line, wanted in zip(found[1].splitlines(), expected[1].splitlines(), strict=False):
            assert line == wanted
        assert found == expected


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree (by hard links where possible) that depmod has run on: DIR of ``-b DIR``."""
    kernel = debian.require("modinfo", "depmod")
    root = tmp_path_factory.mktemp("modinfo")
    target = root / "lib" / "modules" / kernel.release
    try:
        shutil.copytree(kernel.modules, target, symlinks=True, copy_function=_link)
    except shutil.Error:  # another file system
        shutil.rmtree(target)
        shutil.copytree(kernel.modules, target, symlinks=True)
    subprocess.run(["/sbin/depmod", "-b", root, kernel.release], check=True)
    return root


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


@pytest.fixture(scope="session")
def files(tree: Path) -> list[str]:
    return sorted(map(str, tree.rglob("*.ko")))


@pytest.fixture(scope="session")
def at(tree: Path) -> list[str]:
    return ["-b", str(tree), "-k", debian.RELEASE]


def fields_of(listing: bytes) -> set[str]:
    """The keys of a listing; descriptions of several lines look like some, but for the padding."""
    starts = (re.fullmatch(rb"([a-z_]+): +", line[:16]) for line in listing.splitlines())
    return {start[1].decode() for start in starts if start}


def test_every_file_in_full(files: list[str]) -> None:
    assert len(files) > 1000
    assert_same(*files)
    assert_same("-0", *files)


def test_every_field_of_every_file(files: list[str]) -> None:
    fields = fields_of(theirs(*files)[1]) | {"parmtype", "name", "no such field"}
    assert {"vermagic", "softdep", "parm", "firmware", "sig_key"} <= fields
    for field in sorted(fields):
        assert_same("-F", field, *files)


@pytest.mark.parametrize("option", ["-a", "-d", "-l", "-p", "-n", "-0p", "--param", "--auth"])
def test_the_options_for_one_field(files: list[str], option: str) -> None:
    assert_same(option, *files[::10])


def test_every_name(files: list[str], at: list[str]) -> None:
    names = [Path(file).name.removesuffix(".ko") for file in files]
    assert_same(*at, "-m", *names)
    assert_same(*at, *names[::7])


def test_every_built_in_module(tree: Path, at: list[str]) -> None:
    builtin = tree / "lib" / "modules" / debian.RELEASE / "modules.builtin"
    names = [Path(line).name.removesuffix(".ko") for line in builtin.read_text().splitlines()]
    assert len(names) > 50
    assert_same(*at, *names)
    for field in ("filename", "name", "license", "parm", "alias"):
        assert_same(*at, "-F", field, *names)


@pytest.mark.parametrize(
    "alias", ["fs-ext4", "net-pf-10", "pci:v00008086d0000100Esv*", "symbol:crc32c", "a[b"]
)
def test_aliases_and_what_is_none(at: list[str], alias: str) -> None:
    assert_same(*at, alias)
    assert_same(*at, "-m", alias)


@pytest.mark.parametrize("suffix", ["xz", "zst"])
def test_compressed_files(files: list[str], tmp_path: Path, suffix: str) -> None:
    program = {"xz": "xz", "zst": "zstd"}[suffix]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here: apt-get install {program}")
    packed = []
    for file in files[::400]:
        copy = tmp_path / Path(file).name
        shutil.copyfile(file, copy)
        subprocess.run([program, "-q", copy], check=True)
        packed.append(f"{copy}.{suffix}")
    assert_same(*packed)


def signed(module: bytes) -> dict[str, bytes]:
    """One module with each kind of signature that was ever in use."""
    rsa, ec, anonymous = signing.signer(), signing.signer("Elliptic", kind="ec"), signing.signer("")
    return {
        "rsa": signing.sign(module, rsa),
        "attributes": signing.sign(module, rsa, attributes=True),
        "ec": signing.sign(module, ec),
        "anonymous": signing.sign(module, anonymous),
        "serial": signing.sign(module, signing.signer("Odd", serial=0x80)),
        "x509": signing.sign_x509(module, rsa),
        "pgp": signing.append(module, b"\x01" * 41, digest=1, id_type=0, name=b"me", key_id=b"\x02" * 20),
        "twice": signing.sign(signing.sign(module, rsa), ec),
        "lying": signing.append(module, b"x", length=1 << 30),
    }


def test_every_kind_of_signature(files: list[str], tmp_path: Path) -> None:
    module = Path(next(file for file in files if file.endswith("/dummy.ko"))).read_bytes()
    for kind, data in signed(module).items():
        (tmp_path / f"{kind}.ko").write_bytes(data)
        assert_same(str(tmp_path / f"{kind}.ko"))


def test_files_that_are_no_modules(tmp_path: Path, files: list[str]) -> None:
    module = Path(files[0]).read_bytes()
    cases = {"empty": b"", "short": b"abc", "text": b"hello world" * 100, "cut": module[:100]}
    for name, data in cases.items():
        path = tmp_path / f"{name}.ko"
        path.write_bytes(data)
        found, expected = ours(str(path)), theirs(str(path))
        assert found[:2] == expected[:2]
        assert found[2].startswith(f"modinfo: ERROR: could not get modinfo from '{name}': ".encode())


@pytest.mark.parametrize(
    "arguments", [[], ["-Z", "x"], ["--fi", "x"], ["-F"], ["--nul=1", "x"], ["/nosuch.ko"], ["."]]
)
def test_command_lines_that_make_no_sense(arguments: Sequence[str]) -> None:
    assert ours(*arguments) == theirs(*arguments)
