"""Hashes and ciphers of the image and of Debian's modules give what hashlib and OpenSSL give."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct

import pytest
from cryptography.hazmat.primitives import poly1305
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from tests.kernel.image.computing import Image, Run

pytestmark = pytest.mark.real

DICE = random.Random("crypto")
SAMPLES = [DICE.randbytes(size) for size in (0, 1, 3, 55, 56, 64, 65, 127, 128, 1000, 4097)]
"""Around the sizes of the blocks, where the padding is of one kind or another."""
KEY = DICE.randbytes(64)
IV = DICE.randbytes(16)
PLAIN = DICE.randbytes(1024)


# -- hashes -----------------------------------------------------------------------------------------------


def digest(image: Image, name: str, sample: bytes, key: bytes = b"") -> str:
    """The crypto API's answer, from whatever module it finds for this name."""
    tfm = image.call("crypto_alloc_shash", name.encode() + b"\0", 0, 0)
    if key:
        assert image.call("crypto_shash_setkey", tfm, key, len(key), returns="int") == 0
    out = image.put(bytes(64))
    assert image.call("crypto_shash_tfm_digest", tfm, sample, len(sample), out, returns="int") == 0
    return image.get(out, 64).hex()


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("md5", "md5"),
        ("sha1", "sha1"),
        ("sha224", "sha224"),
        ("sha256", "sha256"),
        ("sha384", "sha384"),
        ("sha512", "sha512"),
        ("sha3-224", "sha3_224"),
        ("sha3-256", "sha3_256"),
        ("sha3-384", "sha3_384"),
        ("sha3-512", "sha3_512"),
        ("blake2b-512", "blake2b"),
    ],
)
def test_hashes(run: Run, name: str, same: str) -> None:
    expected = [hashlib.new(same, sample).hexdigest() for sample in SAMPLES]
    found = run(lambda image: [digest(image, name, sample) for sample in SAMPLES])
    assert [text[: len(expected[0])] for text in found] == expected


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_hmac(run: Run, name: str) -> None:
    expected = [hmac.new(KEY, sample, name).hexdigest() for sample in SAMPLES]
    found = run(lambda image: [digest(image, f"hmac({name})", sample, KEY) for sample in SAMPLES])
    assert [text[: len(expected[0])] for text in found] == expected


WHIRLPOOL = (
    "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"
    "7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("md4", "a448017aaf21d8525fc10ae87aa6729d"),  # RFC 1320
        ("rmd160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),  # its authors' page
        ("wp512", WHIRLPOOL),  # ISO/IEC 10118-3
    ],
)
def test_published_hashes_of_abc(run: Run, name: str, expected: str) -> None:
    assert run(lambda image: digest(image, name, b"abc"))[: len(expected)] == expected


def test_blake2s(run: Run) -> None:
    """The library function: its state is that of RFC 7693, for 32 bytes and no key."""
    first = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
    first[0] ^= 0x01010000 | 32

    def blake2s(image: Image, sample: bytes) -> str:
        types = image.k.core.types
        state = image.struct("blake2s_state", outlen=32)
        image.k.core.memory.write(state + types.offset("blake2s_state", "h"), struct.pack("<8I", *first))
        image.call("blake2s_update", state, sample, len(sample), returns="void")
        out = image.put(bytes(32))
        image.call("blake2s_final", state, out, returns="void")
        return image.get(out, 32).hex()

    found = run(lambda image: [blake2s(image, sample) for sample in SAMPLES])
    assert found == [hashlib.blake2s(sample).hexdigest() for sample in SAMPLES]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        # What xxHash's own xxhsum prints for these, and SipHash-2-4's paper.
        ("xxh32", [b"", 0, 0], 0x02CC5D05),
        ("xxh32", [b"abc", 3, 0], 0x32D153FF),
        ("xxh64", [b"", 0, 0], 0xEF46DB3751D8E999),
        ("xxh64", [b"abc", 3, 0], 0x44BC2CF5AD770999),
        ("__siphash_unaligned", [bytes(range(15)), 15, bytes(range(16))], 0xA129CA6149BE45E5),
    ],
)
def test_published_hash_values(run: Run, name: str, arguments: list[int | bytes], expected: int) -> None:
    returns = "unsigned int" if name == "xxh32" else "unsigned long"
    assert run(lambda image: image.call(name, *arguments, returns=returns)) == expected


# -- ciphers ----------------------------------------------------------------------------------------------


def skcipher(image: Image, name: str, key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> str:
    """What the crypto API makes of ``data``, in place."""
    memory, types = image.k.core.memory, image.k.core.types
    tfm = image.call("crypto_alloc_skcipher", name.encode() + b"\0", 0, 0x80)  # no CRYPTO_ALG_ASYNC
    assert image.call("crypto_skcipher_setkey", tfm, key, len(key), returns="int") == 0
    buffer, list_ = image.put(data), image.put(bytes(types.sizeof("scatterlist")))
    image.call("sg_init_one", list_, buffer, len(data), returns="void")
    room = types.sizeof("skcipher_request") + image.member(tfm, "crypto_skcipher", "reqsize")
    request = image.put(bytes(room))
    fields = {"src": list_, "dst": list_, "cryptlen": len(data), "iv": image.put(iv)}
    fields["base.tfm"] = tfm + types.offset("crypto_skcipher", "base")
    for member, value in fields.items():
        size = types.member("skcipher_request", member).size
        memory.set_uint(request + types.offset("skcipher_request", member), value, size)
    function = "crypto_skcipher_decrypt" if decrypt else "crypto_skcipher_encrypt"
    assert image.call(function, request, returns="int") == 0
    return image.get(buffer, len(data)).hex()


@pytest.mark.parametrize(
    ("name", "algorithm", "mode"),
    [
        ("ecb(aes)", algorithms.AES(KEY[:16]), modes.ECB()),
        ("cbc(aes)", algorithms.AES(KEY[:32]), modes.CBC(IV)),
        ("ctr(aes)", algorithms.AES(KEY[:24]), modes.CTR(IV)),
        ("xts(aes)", algorithms.AES(KEY), modes.XTS(IV)),
        ("chacha20", algorithms.ChaCha20(KEY[:32], IV), None),
    ],
)
def test_ciphers(run: Run, name: str, algorithm: CipherAlgorithm, mode: modes.Mode | None) -> None:
    key = algorithm.key  # type: ignore[attr-defined]
    encrypted = Cipher(algorithm, mode).encryptor().update(PLAIN)
    assert run(lambda image: skcipher(image, name, key, IV, PLAIN)) == encrypted.hex()
    assert run(lambda image: skcipher(image, name, key, IV, encrypted, decrypt=True)) == PLAIN.hex()


@pytest.mark.parametrize(
    ("name", "aead"),
    [("gcm(aes)", AESGCM(KEY[:32])), ("ccm(aes)", AESCCM(KEY[:16])), ("rfc7539(chacha20,poly1305)", None)],
)
def test_authenticated_ciphers(run: Run, name: str, aead: AESGCM | AESCCM | None) -> None:
    associated = IV + b"header"
    nonce = IV[:12]
    key = KEY[:16] if "ccm" in name else KEY[:32]
    # CCM's first byte says in how many bytes, but one, the length is; three here.
    iv = b"\2" + nonce + bytes(3) if "ccm" in name else nonce + bytes(4)
    expected = (aead or ChaCha20Poly1305(key)).encrypt(nonce, PLAIN, associated)

    def encrypt(image: Image) -> str:
        memory, types = image.k.core.memory, image.k.core.types
        tfm = image.call("crypto_alloc_aead", name.encode() + b"\0", 0, 0x80)
        assert image.call("crypto_aead_setkey", tfm, key, len(key), returns="int") == 0
        assert image.call("crypto_aead_setauthsize", tfm, 16, returns="int") == 0
        whole = associated + PLAIN + bytes(16)
        buffer, list_ = image.put(whole), image.put(bytes(types.sizeof("scatterlist")))
        image.call("sg_init_one", list_, buffer, len(whole), returns="void")
        request = image.put(bytes(types.sizeof("aead_request") + image.member(tfm, "crypto_aead", "reqsize")))
        fields = {"src": list_, "dst": list_, "cryptlen": len(PLAIN), "assoclen": len(associated)}
        fields |= {"iv": image.put(iv), "base.tfm": tfm + types.offset("crypto_aead", "base")}
        for member, value in fields.items():
            size = types.member("aead_request", member).size
            memory.set_uint(request + types.offset("aead_request", member), value, size)
        assert image.call("crypto_aead_encrypt", request, returns="int") == 0
        return image.get(buffer + len(associated), len(PLAIN) + 16).hex()

    assert run(encrypt) == expected.hex()


# -- library functions ------------------------------------------------------------------------------------


def test_poly1305(run: Run) -> None:
    def mac(image: Image, sample: bytes) -> str:
        state = image.put(bytes(1024))
        image.call("libpoly1305:poly1305_init_generic", state, KEY[:32], returns="void")
        image.call("libpoly1305:poly1305_update_generic", state, sample, len(sample), returns="void")
        out = image.put(bytes(16))
        image.call("libpoly1305:poly1305_final_generic", state, out, returns="void")
        return image.get(out, 16).hex()

    found = run(lambda image: [mac(image, sample) for sample in SAMPLES])
    assert found == [poly1305.Poly1305.generate_tag(KEY[:32], sample).hex() for sample in SAMPLES]


def test_chacha20poly1305(run: Run) -> None:
    """WireGuard's: the nonce is a number."""

    def encrypt(image: Image) -> str:
        out = image.put(bytes(len(PLAIN) + 16))
        name = "libchacha20poly1305:chacha20poly1305_encrypt"
        image.call(name, out, PLAIN, len(PLAIN), IV, len(IV), 0x1122334455667788, KEY[:32], returns="void")
        return image.get(out, len(PLAIN) + 16).hex()

    nonce = struct.pack("<IQ", 0, 0x1122334455667788)
    assert run(encrypt) == ChaCha20Poly1305(KEY[:32]).encrypt(nonce, PLAIN, IV).hex()


def test_curve25519(run: Run) -> None:
    private = X25519PrivateKey.from_private_bytes(KEY[:32])
    public = X25519PrivateKey.from_private_bytes(KEY[32:]).public_key().public_bytes_raw()

    def multiply(image: Image) -> str:
        out = image.put(bytes(32))
        name = "libcurve25519_generic:curve25519_generic"
        # The scalar is clamped by the caller.
        scalar = bytes([KEY[0] & 248, *KEY[1:31], KEY[31] & 127 | 64])
        image.call(name, out, scalar, public, returns="void")
        return image.get(out, 32).hex()

    assert run(multiply) == private.exchange(X25519PublicKey.from_public_bytes(public)).hex()
