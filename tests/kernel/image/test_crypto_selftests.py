"""The crypto API tests each algorithm that is registered: all of them pass, and a wrong one does not."""

from __future__ import annotations

import re

import pytest
from tests.kernel.image.computing import Image, Run

pytestmark = pytest.mark.real

CRYPTO_ALG_TESTED = 0x400
CRYPTO_ALG_TYPE_MASK = 0xF
ANY, AEAD, SKCIPHER = 0, 3, 5
"""CRYPTO_ALG_TYPE_*, which some templates have to be told."""
COMPLAINT = re.compile(r"alg: .*(failed|No test)|tcrypt: one or more|WARNING:|BUG:")
"""What testmgr and tcrypt print of a test that failed or that there is not."""


def passed(image: Image) -> dict[str, bool]:
    """All registered algorithms, by their drivers' names, and whether their test is behind them."""
    assert image.k.core.image is not None
    memory, offset = image.k.core.memory, image.k.core.types.offset
    head = image.k.core.image.address("crypto_alg_list")
    found, entry = {}, memory.u64(head)
    while entry != head:
        alg = entry - offset("crypto_alg", "cra_list")
        name = memory.cstring(alg + offset("crypto_alg", "cra_driver_name")).decode()
        found[name] = bool(memory.u32(alg + offset("crypto_alg", "cra_flags")) & CRYPTO_ALG_TESTED)
        entry = memory.u64(entry)
    return found


def complaints(image: Image) -> list[str]:
    return [line for line in image.k.dmesg().splitlines() if COMPLAINT.search(line)]


@pytest.mark.parametrize(
    ("module", "drivers"),
    [
        ("des_generic", "des-generic des3_ede-generic"),
        ("sha512_generic", "sha384-generic sha512-generic"),
        ("sha3_generic", "sha3-224-generic sha3-256-generic sha3-384-generic sha3-512-generic"),
        (
            "blake2b_generic",
            "blake2b-160-generic blake2b-256-generic blake2b-384-generic blake2b-512-generic",
        ),
        ("streebog_generic", "streebog256-generic streebog512-generic"),
        ("md4", "md4-generic"),
        ("rmd160", "rmd160-generic"),
        ("wp512", "wp256-generic wp384-generic wp512-generic"),
        ("michael_mic", "michael_mic-generic"),
        ("crc32c_generic", "crc32c-generic"),
        ("crct10dif_generic", "crct10dif-generic"),
        ("camellia_generic", "camellia-generic"),
        ("serpent_generic", "serpent-generic"),
        ("twofish_generic", "twofish-generic"),
        ("blowfish_generic", "blowfish-generic"),
        ("cast5_generic", "cast5-generic"),
        ("cast6_generic", "cast6-generic"),
        ("fcrypt", "fcrypt-generic"),
        ("aegis128", "aegis128-generic"),
        ("curve25519_generic", "curve25519-generic"),
        ("lz4", "lz4-generic lz4-scomp"),
        ("zstd", "zstd-generic zstd-scomp"),
        ("drbg", "drbg_pr_hmac_sha256 drbg_nopr_ctr_aes128 drbg_nopr_sha512"),
        # Assembler, some of it with SSE registers.
        ("blowfish_x86_64", "blowfish-asm ecb-blowfish-asm cbc-blowfish-asm"),
        ("camellia_x86_64", "camellia-asm ecb-camellia-asm cbc-camellia-asm"),
        ("des3_ede_x86_64", "des3_ede-asm ecb-des3_ede-asm cbc-des3_ede-asm"),
        ("twofish_x86_64_3way", "twofish-asm ecb-twofish-3way cbc-twofish-3way"),
        ("serpent_sse2_x86_64", "ecb-serpent-sse2 cbc-serpent-sse2"),
        ("nhpoly1305_sse2", "nhpoly1305-generic nhpoly1305-sse2"),
        ("poly1305_x86_64", "poly1305-simd"),
    ],
)
def test_modules(run: Run, module: str, drivers: str) -> None:
    def load(image: Image) -> list[object]:
        before = passed(image)
        assert image.k.modprobe(module).status == 0
        after = passed(image)
        new = {name for name, ok in after.items() if ok and name not in before}
        return [sorted(set(drivers.split()) - new), [*after.values()].count(False), complaints(image)]

    assert run(load) == [[], 0, []]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ctr(aes)", ANY),
        ("xts(aes)", ANY),
        ("gcm(aes)", ANY),
        ("ccm(aes)", ANY),
        ("rfc4106(gcm(aes))", ANY),
        ("rfc4309(ccm(aes))", ANY),
        ("rfc7539(chacha20,poly1305)", ANY),
        ("adiantum(xchacha12,aes)", ANY),
        ("cts(cbc(aes))", ANY),
        ("essiv(cbc(aes),sha256)", SKCIPHER),
        ("essiv(authenc(hmac(sha256),cbc(aes)),sha256)", AEAD),
        ("authenc(hmac(sha512),cbc(aes))", ANY),
        ("cmac(aes)", ANY),
        ("xcbc(aes)", ANY),
        ("vmac64(aes)", ANY),
        ("kw(aes)", ANY),
        ("cfb(aes)", ANY),
        ("ofb(aes)", ANY),
        ("pcbc(fcrypt)", ANY),
        ("lrw(serpent)", ANY),
        ("ctr(camellia)", ANY),
        ("cbc(des3_ede)", ANY),
        ("xts(twofish)", ANY),
        ("hmac(sha3-512)", ANY),
        ("xxhash64", ANY),
        ("xchacha20", ANY),
        ("lz4hc", ANY),
    ],
)
def test_what_is_made_on_request(run: Run, name: str, kind: int) -> None:
    """The modules for all parts of a name are asked for, and what they make together is tested."""

    def find(image: Image) -> list[object]:
        mask = CRYPTO_ALG_TYPE_MASK if kind else 0
        found = image.call("crypto_has_alg", name.encode() + b"\0", kind, mask, returns="int")
        return [found, [*passed(image).values()].count(False), complaints(image)]

    assert run(find) == [1, 0, []]


@pytest.mark.parametrize(
    ("module", "vectors", "struct", "member", "driver"),
    [
        ("sha512_generic", "sha512_tv_template", "hash_testvec", "digest", "sha512-generic"),
        ("serpent_generic", "serpent_tv_template", "cipher_testvec", "ctext", "serpent-generic"),
        ("xxhash_generic", "xxhash64_tv_template", "hash_testvec", "digest", "xxhash64-generic"),
    ],
)
def test_a_wrong_result_is_noticed(
    run: Run, module: str, vectors: str, struct: str, member: str, driver: str
) -> None:
    """One bit of what the first test vector expects is another."""

    def load(image: Image) -> list[object]:
        assert image.k.core.image is not None
        memory, types = image.k.core.memory, image.k.core.types
        first = image.k.core.image.address(vectors)
        at = memory.u64(first + types.offset(struct, member))
        memory.write(at, bytes([memory.u8(at) ^ 1]), force=True)
        image.k.modprobe(module)
        return [passed(image).get(driver, False), len(complaints(image)) > 0]

    assert run(load) == [False, True]


@pytest.mark.parametrize(
    "mode",
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 18, 22, 35, 36, 37, 38, 42, 45, 100, 105, 155],
)
def test_tcrypt(run: Run, mode: int) -> None:
    """The module never stays: -EAGAIN says that all was well."""

    def load(image: Image) -> list[object]:
        result = image.k.modprobe("tcrypt", f"mode={mode}", check=False)
        return [result.output.strip().rpartition(": ")[2], complaints(image)]

    assert run(load) == ["Resource temporarily unavailable", []]
