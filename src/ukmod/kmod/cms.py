"""The first SignerInfo of a PKCS#7/CMS SignedData message (RFC 5652), as scripts/sign-file makes it.

Only the fields that modinfo shows and that a check of the signature needs are kept.
"""

from __future__ import annotations

from functools import lru_cache

from ukmod.errors import FormatError
from ukmod.kmod.der import DerTag, Reader
from ukmod.record import record

__all__ = ["DIGEST_NAMES", "SignerInfo", "parse_signed_data"]

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_COMMON_NAME = "2.5.4.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_RSA_SIZES = (512, 256, 384)  # bytes; kbuild makes keys of the first

#: The digests that the kernel has known: those that modinfo knows too by its names, the others by OpenSSL's.
DIGEST_NAMES = {
    "1.2.840.113549.2.4": "md4",
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "1.3.36.3.2.1": "rmd160",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.8": "sha3-256",
    "2.16.840.1.101.3.4.2.9": "sha3-384",
    "2.16.840.1.101.3.4.2.10": "sha3-512",
    "1.2.156.10197.1.401": "sm3",
}


@record
class SignerInfo:
    """The signer and the method of a signature.

    The signer is named either by ``issuer`` (a DER Name) and ``serial``, or by ``subject_key_id``; the
    other is None. ``issuer_name`` is the issuer's common name (without one: its last attribute), as raw
    bytes. ``signed_attributes`` is the DER SET that was signed in place of the content, or None; then
    ``message_digest`` is the content's digest as the signer saw it.
    """

    issuer: bytes | None
    issuer_name: bytes
    serial: int | None
    subject_key_id: bytes | None
    digest: str
    signature_algorithm: str
    signed_attributes: bytes | None = None
    message_digest: bytes | None = None

    @property
    def key_id(self) -> bytes:
        """The name of the key: the serial number's bytes without sign, or the subject key identifier."""
        if self.serial is None:
            return self.subject_key_id or b""
        magnitude = abs(self.serial)
        return magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


def parse_signed_data(message: bytes, *, path: str = "", base: int = 0) -> tuple[SignerInfo, bytes]:
    """Return the first signer of the SignedData in ``message`` and the signature proper.

    ``message`` is at the offset ``base`` of the file ``path``. Raises FormatError for anything else.
    """
    # One key signs thousands of modules, and all but the last bytes of these messages is the same.
    for size in _RSA_SIZES:
        if message[-size - 4 : -size] == b"\x04\x82" + size.to_bytes(2, "big"):
            signer = _parse_without_signature(message[:-size], size)
            if signer is not None:
                return signer, message[-size:]
    return _parse(message, path, base)


@lru_cache(maxsize=16)
def _parse_without_signature(head: bytes, size: int) -> SignerInfo | None:
    """Return the signer of a message of which the last ``size`` bytes, and no others, are the signature."""
    placeholder = b"?" * size
    try:
        signer, signature = _parse(head + placeholder, "", 0)
    except FormatError:
        return None  # to be found again where there is a path for the message
    return signer if signature == placeholder else None


def _parse(message: bytes, path: str, base: int) -> tuple[SignerInfo, bytes]:
    content_info = Reader(message, path=path, base=base).enter(DerTag.SEQUENCE, "ContentInfo")
    content_type = content_info.oid("contentType")
    if content_type != _SIGNED_DATA:
        raise content_info.error(f"content type {content_type} is not SignedData")
    signed_data = content_info.enter(DerTag.CONTEXT_0, "content").enter(DerTag.SEQUENCE, "SignedData")
    signed_data.integer("version")
    signed_data.content(DerTag.SET, "digestAlgorithms")
    signed_data.content(DerTag.SEQUENCE, "encapContentInfo")
    while signed_data.peek() in (DerTag.CONTEXT_0, DerTag.CONTEXT_1):
        signed_data.content(None, "certificates or crls")
    return _signer_info(signed_data.enter(DerTag.SET, "signerInfos").enter(DerTag.SEQUENCE, "SignerInfo"))


def _signer_info(fields: Reader) -> tuple[SignerInfo, bytes]:
    fields.integer("version")
    issuer, issuer_name, serial, subject_key_id = None, b"", None, None
    if fields.peek() == DerTag.SEQUENCE:
        names = fields.enter(DerTag.SEQUENCE, "issuerAndSerialNumber")
        issuer_name = _display_name(names.fork())
        issuer = names.raw(DerTag.SEQUENCE, "issuer")
        serial = names.integer("serialNumber")
    else:  # sign-file -k
        subject_key_id = fields.content(DerTag.CONTEXT_0_PRIMITIVE, "subjectKeyIdentifier")
    digest = _algorithm(fields, "digestAlgorithm")
    attributes, message_digest = None, None
    if fields.peek() == DerTag.CONTEXT_0:
        # RFC 5652 5.4: what is signed is the SET OF itself, not the [0] IMPLICIT it is stored as.
        attributes = bytes([DerTag.SET]) + fields.raw(DerTag.CONTEXT_0, "signedAttrs")[1:]
        message_digest = _message_digest(Reader(attributes).enter(DerTag.SET, "signedAttrs"))
    signer = SignerInfo(
        issuer,
        issuer_name,
        serial,
        subject_key_id,
        DIGEST_NAMES.get(digest, digest),
        _algorithm(fields, "signatureAlgorithm"),
        attributes,
        message_digest,
    )
    return signer, fields.content(DerTag.OCTET_STRING, "signature")


def _algorithm(fields: Reader, what: str) -> str:
    return fields.enter(DerTag.SEQUENCE, what).oid(what)


def _display_name(fields: Reader) -> bytes:
    """Return the first common name, or without one the last attribute, up to a NUL: what modinfo shows."""
    value = b""
    relatives = fields.enter(DerTag.SEQUENCE, "issuer")
    while relatives:
        attributes = relatives.enter(DerTag.SET, "RelativeDistinguishedName")
        while attributes:
            attribute = attributes.enter(DerTag.SEQUENCE, "AttributeTypeAndValue")
            kind = attribute.oid("attribute type")
            value = attribute.content(None, "attribute value").partition(b"\0")[0]
            if kind == _COMMON_NAME:
                return value
    return value


def _message_digest(attributes: Reader) -> bytes | None:
    while attributes:
        attribute = attributes.enter(DerTag.SEQUENCE, "attribute")
        if attribute.oid("attribute type") == _MESSAGE_DIGEST:
            return attribute.enter(DerTag.SET, "attribute values").content(
                DerTag.OCTET_STRING, "messageDigest"
            )
    return None
