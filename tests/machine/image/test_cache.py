"""The cache believes what this user has written there with the key, and nothing else."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from pathlib import Path

import pytest
from tests.faults import ERRORS, failing, killed_at, racing

from ukmod.kmod.regular import UNSETTLED, identity
from ukmod.machine.image import cache
from ukmod.machine.image.cache import MAC_SIZE, Cache, default_directory


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cache with one entry."""
    Cache(str(tmp_path / "cache")).put("entry", b"content")
    return tmp_path / "cache"


def kept(place: Path, name: str = "entry") -> bytes | None:
    entry = Cache(str(place)).get(name)
    return None if entry is None else bytes(entry[:-MAC_SIZE])


def test_an_entry_is_read_back_by_another_process_of_the_user(place: Path) -> None:
    assert kept(place) == b"content"


def test_directory_and_files_are_for_the_user_alone(place: Path) -> None:
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}


def test_an_entry_under_another_name_is_not_authentic(place: Path) -> None:
    (place / "entry").rename(place / "other")
    assert kept(place, "other") is None


def test_an_entry_of_another_directory_is_not_authentic(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    assert kept(place.with_name("elsewhere")) is None


def test_an_entry_that_was_made_with_another_key_is_not_authentic(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "planted" / "cache"
    Cache(str(other)).put("entry", b"planted")
    (other / "entry").replace(place / "entry")
    assert kept(place) is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_entry_that_others_may_write_is_not_read(place: Path, mode: int) -> None:
    (place / "entry").chmod(mode)
    assert kept(place) is None


def test_an_entry_with_a_second_link_is_not_read(place: Path, tmp_path: Path) -> None:
    (tmp_path / "second").hardlink_to(place / "entry")
    assert kept(place) is None


def test_an_entry_that_is_replaced_while_it_is_opened_is_still_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat

    def replaced(descriptor: int) -> os.stat_result:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(place / "entry"):
            (place / "new").write_bytes(b"of another process")
            (place / "new").replace(place / "entry")
        return status(descriptor)

    monkeypatch.setattr(os, "fstat", replaced)
    assert kept(place) == b"content"


def test_a_link_to_an_entry_is_not_followed(place: Path, tmp_path: Path) -> None:
    (place / "entry").rename(tmp_path / "entry")
    (place / "entry").symlink_to(tmp_path / "entry")
    assert kept(place) is None


@pytest.mark.parametrize("kind", ["directory", "device", "fifo"])
def test_an_entry_that_is_not_a_file_is_not_read(place: Path, kind: str) -> None:
    (place / "entry").unlink()
    match kind:
        case "directory":
            (place / "entry").mkdir()
        case "device":
            (place / "entry").symlink_to("/dev/zero")
        case "fifo":
            os.mkfifo(place / "entry")
    assert kept(place) is None


def test_what_belongs_to_another_user_is_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert kept(place) is None
    assert not Cache(str(place)).write("entry", [b"mine"])


def test_a_directory_behind_a_link_is_not_used(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    place.symlink_to(place.with_name("elsewhere"))
    assert kept(place) is None
    assert not Cache(str(place)).prepare()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_could_write_to_begins_anew(place: Path, mode: int) -> None:
    key = (place / "key").read_bytes()
    place.chmod(mode)
    assert kept(place) is None
    Cache(str(place)).put("entry", b"again")
    assert kept(place) == b"again"
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "key").read_bytes() != key


@pytest.mark.parametrize("what", ["seen by others", "too short", "too long", "a link", "a FIFO"])
def test_a_key_that_is_not_secret_and_whole_is_replaced(place: Path, tmp_path: Path, what: str) -> None:
    key = place / "key"
    secret = key.read_bytes()
    match what:
        case "seen by others":
            key.chmod(0o640)
        case "too short":
            key.write_bytes(secret[:-1])
        case "too long":
            key.write_bytes(secret + b"x")
        case "a link":
            key.rename(tmp_path / "key")
            key.symlink_to(tmp_path / "key")
        case "a FIFO":
            key.unlink()
            os.mkfifo(key)
    assert kept(place) is None
    Cache(str(place)).put("entry", b"again")
    assert kept(place) == b"again"


def test_many_writers_leave_one_whole_entry(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    cache = Cache(str(place))
    assert cache.prepare()
    contents = [bytes([number]) * 100000 for number in range(20)]
    threads = [threading.Thread(target=cache.put, args=("entry", content)) for content in contents]
    for thread in threads:
        thread.start()
    seen = [kept(place) for _ in range(50)]
    for thread in threads:
        thread.join()
    assert {entry for entry in [*seen, kept(place)] if entry is not None} <= set(contents)
    assert kept(place) is not None
    assert sorted(os.listdir(place)) == ["entry", "key"]


def test_a_writer_that_fails_half_way_leaves_nothing(place: Path) -> None:
    def parts() -> list[bytes]:
        raise OSError("the disk is full")

    assert not Cache(str(place)).write("other", (parts() for _ in range(1)))
    assert sorted(os.listdir(place)) == ["entry", "key"]


@pytest.mark.parametrize("begun", [False, True])
def test_whatever_call_fails_an_entry_is_whole_and_nothing_else_is_left(tmp_path: Path, begun: bool) -> None:
    place, failed = tmp_path / "cache", set()
    for number in itertools.count():
        shutil.rmtree(place, ignore_errors=True)
        if begun:
            Cache(str(place)).put("entry", b"old")
        with failing(number, ERRORS[number % len(ERRORS)]) as calls:
            cache = Cache(str(place))
            cache.put("entry", b"new")
            cache.get("entry")
            cache.trim("entry", 1)
        if not calls:
            break
        failed |= {*calls}
        found = kept(place)
        # A key that cannot be read is replaced, after which what it signed is not believed.
        assert found in (b"old", b"new", None), calls
        assert begun is False or found is not None or calls[0] in ("open", "fstat", "read", "close")
        Cache(str(place)).put("entry", b"third")
        assert kept(place) == b"third"
        if calls != ["unlink"]:
            assert sorted(os.listdir(place)) == ["entry", "key"], calls
    assert failed >= {"open", "fstat", "read", "write", "close", "replace", "listdir"}


def test_whenever_a_writer_is_killed_an_entry_is_old_or_new(place: Path) -> None:
    for number in itertools.count():
        Cache(str(place)).put("entry", b"old")
        was_killed = killed_at(number, lambda: Cache(str(place)).put("entry", b"new"))
        assert kept(place) in (b"old", b"new")
        for left in place.glob(".*"):
            os.utime(left, (0, 0))
        Cache(str(place)).trim("entry", 1)
        assert sorted(os.listdir(place)) == ["entry", "key"]
        if not was_killed:
            break
    assert number > 8
    assert kept(place) == b"new"


def test_twenty_writers_of_which_fifty_are_killed_leave_a_whole_entry(place: Path) -> None:
    def write(number: int) -> None:
        Cache(str(place)).put("entry", bytes([number]) * 100_000)

    whole = {b"content", *(bytes([number]) * 100_000 for number in range(70))}
    for _killed in racing(write):
        assert kept(place) in whole
    for left in place.glob(".*"):
        os.utime(left, (0, 0))
    Cache(str(place)).trim("entry", 1)
    assert sorted(os.listdir(place)) == ["entry", "key"]


def test_the_users_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert default_directory() == "/var/cache/me/ukmod"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_directory() == "/home/me/.cache/ukmod"


def of(path: Path, age: float = 10) -> tuple[int, ...]:
    """The identity of a file that was last changed so many seconds ago."""
    status = path.stat()
    return identity(status, status.st_ctime_ns + int(age * 1e9))


def test_what_was_remembered_of_a_file_is_recalled_until_the_file_changes(
    place: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    Cache(str(place)).remember("about", of(file), b"a\nfact")
    assert Cache(str(place)).recall("about", of(file)) == b"a\nfact"
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # a tick of the host's clock takes milliseconds
        file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # which the time of its change gives away
    assert Cache(str(place)).recall("about", of(file)) is None


def test_a_file_that_replaces_another_is_not_known(place: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(b"one")
    shutil.copy2(file, other)
    Cache(str(place)).remember("about", of(file))
    other.replace(file)
    assert Cache(str(place)).recall("about", of(file)) is None


def test_nothing_is_remembered_of_a_file_that_has_only_just_changed(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    assert of(file, age=1) == UNSETTLED
    Cache(str(place)).remember("about", of(file, age=1))
    assert Cache(str(place)).recall("about", of(file, age=1)) is None
    assert not (place / "about").exists()


def test_a_planted_memory_is_not_believed(place: Path, tmp_path: Path) -> None:
    file, planted = tmp_path / "file", tmp_path / "planted" / "cache"
    file.write_bytes(b"one")
    Cache(str(planted)).remember("about", of(file), b"a lie")
    (planted / "about").replace(place / "about")
    assert Cache(str(place)).recall("about", of(file)) is None


def test_two_that_make_a_key_at_once_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that there is none before either makes it."""
    read, both = cache._read_key, threading.Barrier(2)
    first = threading.local()

    def read_together(place: int) -> bytes | None:
        found = read(place)
        if not hasattr(first, "done"):
            first.done = True
            both.wait(30)
        return found

    monkeypatch.setattr(cache, "_read_key", read_together)
    macs: list[bytes] = []

    def save() -> None:
        there = Cache(str(tmp_path / "cache"))
        assert there.prepare()
        mac = there.mac("entry")
        assert mac is not None
        macs.append(mac.digest())

    threads = [threading.Thread(target=save) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(macs) == 2
    assert len(set(macs)) == 1
