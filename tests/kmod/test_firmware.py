from __future__ import annotations

from pathlib import Path

from ukmod.kmod.firmware import firmware_directories, firmware_files


def install(root: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        path = root / "lib/firmware" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return firmware_directories(str(root), "6.1.0")


def test_updates_come_before_the_rest(tmp_path: Path) -> None:
    directories = install(tmp_path, "a.bin", "updates/a.bin")
    assert firmware_files("a.bin", directories) == [f"{tmp_path}/lib/firmware/updates/a.bin"]


def test_compressed_files_count(tmp_path: Path) -> None:
    directories = install(tmp_path, "v/a.bin.zst", "b.bin.xz")
    assert firmware_files("v/a.bin", directories) == [f"{tmp_path}/lib/firmware/v/a.bin.zst"]
    assert firmware_files("b.bin", directories) == [f"{tmp_path}/lib/firmware/b.bin.xz"]


def test_a_wildcard_names_several(tmp_path: Path) -> None:
    directories = install(tmp_path, "v/a1.bin", "v/a2.bin.xz", "updates/v/a1.bin", "v/b.bin")
    assert sorted(firmware_files("v/a*.bin", directories)) == [
        f"{tmp_path}/lib/firmware/updates/v/a1.bin",
        f"{tmp_path}/lib/firmware/v/a2.bin.xz",
    ]


def test_what_is_not_there_and_what_is_not_inside(tmp_path: Path) -> None:
    directories = install(tmp_path, "a.bin")
    (tmp_path / "lib/secret").write_bytes(b"")
    assert firmware_files("none.bin", directories) == []
    assert firmware_files("../secret", directories) == []
    assert firmware_files("", directories) == []
