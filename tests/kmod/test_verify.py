from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from tests import signing

from ukmod.errors import FormatError, MissingExtraError
from ukmod.kmod.verify import Verdict, load_certificates, verify

MODULE = b"\x7fELF and so on" * 20


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("digest", [hashes.SHA256, hashes.SHA512])
def test_a_good_signature_is_valid_by_its_certificate(kind: str, attributes: bool, digest: type) -> None:
    by = signing.signer(kind=kind)
    result = verify(signing.sign(MODULE, by, attributes=attributes, digest=digest), [by.certificate])
    assert result
    assert result.certificate == "CN=Example key,O=Example"


@pytest.mark.parametrize("attributes", [False, True])
def test_one_changed_byte_of_the_module_is_noticed(attributes: bool) -> None:
    by = signing.signer()
    data = bytearray(signing.sign(MODULE, by, attributes=attributes))
    data[5] ^= 1
    assert verify(bytes(data), [by.certificate]).verdict is Verdict.INVALID


def test_a_signature_from_before_4_3_is_found_by_subject_key_identifier() -> None:
    by, other = signing.signer(), signing.signer("Other", serial=2)
    data = signing.sign_x509(MODULE, by)
    assert verify(data, [other.certificate, by.certificate])
    assert verify(b"x" + data[1:], [by.certificate]).verdict is Verdict.INVALID


def test_the_signer_has_to_be_among_the_certificates() -> None:
    data = signing.sign(MODULE, signing.signer())
    result = verify(data, [signing.signer("Other", serial=2).certificate])
    assert result.verdict is Verdict.UNKNOWN_KEY
    assert "01:23:45:67:89:AB:CD:EF (Example key)" in result.reason


def test_a_namesake_with_another_key_does_not_pass() -> None:
    impostor = signing.signer(kind="ec")
    data = signing.sign(MODULE, signing.signer())
    assert not verify(data, [impostor.certificate])


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (MODULE, Verdict.UNSIGNED),
        (signing.MAGIC, Verdict.MALFORMED),
        (signing.append(MODULE, b"junk"), Verdict.MALFORMED),
    ],
)
def test_no_signature_and_no_sense_are_told_apart(data: bytes, verdict: Verdict) -> None:
    result = verify(data, [])
    assert result.verdict is verdict
    assert not result


def test_certificates_are_read_from_pem_and_der() -> None:
    one, two = signing.signer(), signing.signer("Other", serial=2)
    assert load_certificates(one.pem + two.pem) == [one.certificate, two.certificate]
    der = one.certificate.public_bytes(serialization.Encoding.DER)
    assert load_certificates(der) == [one.certificate]
    with pytest.raises(FormatError, match=r"key\.pem: not an X.509"):
        load_certificates(b"junk", path="key.pem")


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ukmod\[sign\]'"):
        verify(MODULE, [])
