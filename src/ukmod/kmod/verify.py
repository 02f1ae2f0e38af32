"""Is a module's signature good? What kernel/module/signing.c asks, answered against certificates one has.

modinfo(8) only prints what a signature claims. The arithmetic is that of the ``cryptography`` package, an
optional dependency (``ukmod[sign]``).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ukmod.errors import FormatError, MissingExtraError
from ukmod.kmod.signature import ModuleSignature, parse_signature
from ukmod.record import record

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

__all__ = ["Verdict", "Verification", "load_certificates", "verify"]


class Verdict(enum.StrEnum):
    """The result of checking a signature; the kernel's error is in parentheses."""

    VALID = "valid"
    UNSIGNED = "unsigned"  # ENODATA
    UNKNOWN_KEY = "unknown key"  # ENOKEY
    INVALID = "invalid"  # EKEYREJECTED
    UNSUPPORTED = "unsupported"  # ENOPKG
    MALFORMED = "malformed"  # EBADMSG


@record
class Verification:
    """A verdict, the reason for it in a sentence, and the subject of the certificate it was judged by."""

    verdict: Verdict
    reason: str
    certificate: str = ""

    def __bool__(self) -> bool:
        return self.verdict is Verdict.VALID


def load_certificates(data: bytes, *, path: str = "") -> list[x509.Certificate]:
    """Return the X.509 certificates in ``data``: one in DER, or any number in PEM.

    Raises FormatError if there is none, MissingExtraError without ``cryptography``.
    """
    _require_cryptography()
    from cryptography import x509

    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError as error:
        raise FormatError("not an X.509 certificate", path=path) from error


def verify(data: bytes, certificates: Iterable[x509.Certificate], *, path: str = "") -> Verification:
    """Judge the signature of the module file ``data`` by the one of ``certificates`` that it names.

    As in the kernel, a certificate's dates and purposes are not looked at: being in the keyring is trust.
    Raises MissingExtraError without ``cryptography``; a broken signature is a verdict, not an error.
    """
    _require_cryptography()
    try:
        signature = parse_signature(data, path=path)
    except FormatError as error:
        return Verification(Verdict.MALFORMED, error.message)
    if signature is None:
        return Verification(Verdict.UNSIGNED, "the file has no signature")
    if signature.defect:
        return Verification(Verdict.MALFORMED, signature.defect)
    for certificate in certificates:
        if _names(signature, certificate):
            verdict, reason = _check(signature, data, certificate)
            return Verification(verdict, reason, certificate.subject.rfc4514_string())
    key = signature.key_id.hex(":").upper()
    return Verification(Verdict.UNKNOWN_KEY, f"no certificate given has the key {key} ({signature.signer})")


def _names(signature: ModuleSignature, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` is the one that ``signature`` says it was made with."""
    signer = signature.signer_info
    if signer is not None and signer.serial is not None:
        issuer = certificate.issuer.public_bytes()
        return (certificate.serial_number, issuer) == (signer.serial, signer.issuer)
    return _subject_key_id(certificate) == signature.key_id


def _subject_key_id(certificate: x509.Certificate) -> bytes | None:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return extension.value.digest


def _check(signature: ModuleSignature, data: bytes, certificate: x509.Certificate) -> tuple[Verdict, str]:
    algorithm = _hash(signature.hash_algorithm)
    if algorithm is None:
        return Verdict.UNSUPPORTED, f"the digest {signature.hash_algorithm} is not supported"
    signed = data[: signature.module_size]
    blob = signature.signature
    signer = signature.signer_info
    if signer is None:
        # Before 4.3 the file held a two-byte length and then the number (module_signing.c of that time).
        blob = blob[2:]
    elif signer.signed_attributes is not None:
        if hashlib.new(algorithm.name, signed).digest() != signer.message_digest:
            return Verdict.INVALID, "the module is not the one that was signed"
        signed = signer.signed_attributes
    return _check_key(certificate, blob, signed, algorithm)


def _check_key(
    certificate: x509.Certificate, blob: bytes, signed: bytes, algorithm: hashes.HashAlgorithm
) -> tuple[Verdict, str]:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    try:
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(blob, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(blob, signed, ec.ECDSA(algorithm))
        else:
            return Verdict.UNSUPPORTED, f"keys of the type {type(key).__name__} are not supported"
    except InvalidSignature:
        return Verdict.INVALID, "the module or its signature was changed after signing"
    except (UnsupportedAlgorithm, ValueError) as error:
        return Verdict.UNSUPPORTED, str(error)
    return Verdict.VALID, "the signature is good"


def _hash(name: str) -> hashes.HashAlgorithm | None:
    from cryptography.hazmat.primitives import hashes

    known: dict[str, Callable[[], hashes.HashAlgorithm]] = {
        "md5": hashes.MD5,
        "sha1": hashes.SHA1,
        "sha224": hashes.SHA224,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
        "sha3-256": hashes.SHA3_256,
        "sha3-384": hashes.SHA3_384,
        "sha3-512": hashes.SHA3_512,
    }
    return known[name]() if name in known else None


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - the clear message is the point
    except ImportError as error:
        raise MissingExtraError("checking a signature", "sign", error) from error
