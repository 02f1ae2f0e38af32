from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.depmod.order import hash_order, module_order, superfast
from ukmod.kmod.depmod.scan import Candidate


def reference(key: bytes) -> int:
    """SuperFastHash one key and one step at a time, to compare with all at once."""
    value = len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        value = (value + int.from_bytes(key[at : at + 2], "little")) % 2**32
        value = (value << 16 ^ int.from_bytes(key[at + 2 : at + 4], "little") << 11 ^ value) % 2**32
        value = (value + (value >> 11)) % 2**32
    rest = key[whole:]
    if len(rest) == 1:
        value = (value + int.from_bytes(rest, signed=True)) % 2**32
        value = (value ^ value << 10) % 2**32
        value = (value + (value >> 1)) % 2**32
    elif rest:
        value = (value + int.from_bytes(rest[:2], "little")) % 2**32
        value = (value ^ value << (11 if len(rest) == 2 else 16)) % 2**32
        if len(rest) == 3:
            value ^= rest[2] << 18
        value = (value + (value >> (17 if len(rest) == 2 else 11))) % 2**32
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) % 2**32
        value = (value + (value >> right)) % 2**32
    return value


@given(st.lists(st.binary(max_size=40)))
def test_all_keys_at_once_hash_as_one_by_one(keys: list[bytes]) -> None:
    assert superfast(keys) == [reference(key) for key in keys]


KMOD_WROTE = """
drm_dp_link_train_channel_eq_delay
drm_need_swiotlb
jbd2_journal_inode_ranged_write
qmi_txn_wait
__twofish_setkey
mlx4_db_free
nf_send_unreach
nvmf_register_transport
phy_write_mmd
sdhci_remove_host
t10_pi_type1_crc
ar9003_paprd_is_done
"""
"""The first symbols of the modules.symbols that kmod 30 wrote for Debian's 6.1.0-56-amd64."""


def test_an_order_that_kmod_wrote() -> None:
    names = KMOD_WROTE.split()
    assert hash_order(sorted(names), 2048) == names


def candidates(*shown: str) -> list[Candidate]:
    return [
        Candidate(path.rpartition("/")[2].partition(".")[0].replace("-", "_"), f"/t/{path}", path)
        for path in shown
    ]


def test_modules_order_comes_first_and_knows_no_compression(tmp_path: Path) -> None:
    (tmp_path / "modules.order").write_text("k/z.ko\nk/b-c.ko\nk/z.ko\n")
    got = module_order(candidates("k/a.ko", "k/b-c.ko.xz", "k/z.ko.zst"), str(tmp_path))
    assert [module.shown for module in got] == ["k/z.ko.zst", "k/b-c.ko.xz", "k/a.ko"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "could not open modules.order at {}: No such file or directory"),
     ("k/b.ko\nk/a.k", "{}/modules.order:2 corrupted line misses '\\n'")],
)  # fmt: skip
def test_without_a_sound_modules_order_hashes_decide(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "modules.order").write_text(content)
    messages: list[str] = []
    got = module_order(candidates("k/a.ko", "k/b.ko"), str(tmp_path), lambda _p, text: messages.append(text))
    assert [module.name for module in got] == hash_order(["a", "b"], 512)
    assert messages == [message.format(tmp_path)]
