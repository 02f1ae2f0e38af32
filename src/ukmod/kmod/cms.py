"""The first SignerInfo of a PKCS#7/CMS SignedData message (RFC 5652), as scripts/sign-file makes it.

Only the fields that modinfo shows and that a check of the signature needs are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ukmod.errors import FormatError
from ukmod.kmod import der
from ukmod.kmod.der import Element, Tag

__all__ = ["DIGEST_NAMES", "SignerInfo", "parse_signed_data"]

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_COMMON_NAME = "2.5.4.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"

#: What OpenSSL, and so modinfo, calls the digests that the kernel has known (kernel/module signing, crypto/).
DIGEST_NAMES = {
    "1.2.840.113549.2.4": "md4",
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "1.3.36.3.2.1": "ripemd160",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.8": "sha3-256",
    "2.16.840.1.101.3.4.2.9": "sha3-384",
    "2.16.840.1.101.3.4.2.10": "sha3-512",
    "1.2.156.10197.1.401": "sm3",
}


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """Who signed, and how.

    The signer is named either by ``issuer`` (a DER Name) and ``serial``, or by ``subject_key_id``; the other
    is None. ``issuer_name`` is the issuer's common name (without one: its last attribute), as raw bytes.
    ``signed_attributes`` is the DER SET that was signed in place of the content, or None; then
    ``message_digest`` is the content's digest as the signer saw it.
    """

    issuer: bytes | None
    issuer_name: bytes
    serial: int | None
    subject_key_id: bytes | None
    digest: str
    signature_algorithm: str
    signature: bytes
    signed_attributes: bytes | None = None
    message_digest: bytes | None = None

    @property
    def key_id(self) -> bytes:
        """What names the key: the serial number's bytes without sign, or the subject key identifier."""
        if self.serial is None:
            return self.subject_key_id or b""
        magnitude = abs(self.serial)
        return magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


def parse_signed_data(message: bytes, *, path: str = "", base: int = 0) -> SignerInfo:
    """Return the first signer of the SignedData in ``message`` (at offset ``base`` of ``path``).

    Raises FormatError, with the offset in the file, for anything else.
    """
    content_info = der.parse(message, path=path, base=base).expect(Tag.SEQUENCE, "ContentInfo")
    fields = content_info.children()
    content_type = _next(fields, content_info, "content type")
    if content_type.oid() != _SIGNED_DATA:
        raise content_type.error(f"content type {content_type.oid()} is not SignedData")
    wrapper = _next(fields, content_info, "content").expect(Tag.CONTEXT_0, "content")
    signed_data = _next(wrapper.children(), wrapper, "SignedData").expect(Tag.SEQUENCE, "SignedData")

    fields = signed_data.children()
    _next(fields, signed_data, "version").integer()
    _next(fields, signed_data, "digestAlgorithms").expect(Tag.SET, "digestAlgorithms")
    _next(fields, signed_data, "contentInfo").expect(Tag.SEQUENCE, "contentInfo")
    element = _next(fields, signed_data, "signerInfos")
    while element.tag in (Tag.CONTEXT_0, Tag.CONTEXT_1):  # certificates, crls
        element = _next(fields, signed_data, "signerInfos")
    signers = element.expect(Tag.SET, "signerInfos")
    return _signer_info(_next(signers.children(), signers, "SignerInfo").expect(Tag.SEQUENCE, "SignerInfo"))


def _signer_info(element: Element) -> SignerInfo:
    fields = element.children()
    _next(fields, element, "version").integer()
    issuer, issuer_name, serial, subject_key_id = _signer_id(_next(fields, element, "signer identifier"))
    digest = _algorithm(_next(fields, element, "digestAlgorithm"))
    attributes, message_digest = None, None
    field = _next(fields, element, "signatureAlgorithm")
    if field.tag == Tag.CONTEXT_0:
        # RFC 5652 5.4: what is signed is the SET OF itself, not the [0] IMPLICIT it is stored as.
        attributes = bytes([Tag.SET]) + field.raw[1:]
        message_digest = _message_digest(field)
        field = _next(fields, element, "signatureAlgorithm")
    signature_algorithm = _algorithm(field)
    signature = _next(fields, element, "signature").expect(Tag.OCTET_STRING, "signature")
    return SignerInfo(
        issuer=issuer,
        issuer_name=issuer_name,
        serial=serial,
        subject_key_id=subject_key_id,
        digest=DIGEST_NAMES.get(digest, digest),
        signature_algorithm=signature_algorithm,
        signature=signature.content,
        signed_attributes=attributes,
        message_digest=message_digest,
    )


def _signer_id(element: Element) -> tuple[bytes | None, bytes, int | None, bytes | None]:
    """Return issuer, its name, serial and subject key identifier; sign-file -k writes the last alone."""
    if element.tag in (Tag.CONTEXT_0_PRIMITIVE, Tag.CONTEXT_0):
        return None, b"", None, element.content
    fields = element.expect(Tag.SEQUENCE, "issuerAndSerialNumber").children()
    issuer = _next(fields, element, "issuer").expect(Tag.SEQUENCE, "issuer")
    serial = _next(fields, element, "serialNumber").integer()
    return issuer.raw, _display_name(issuer), serial, None


def _display_name(name: Element) -> bytes:
    """Return the first common name, or without one the last attribute, up to a NUL: what modinfo shows."""
    value = b""
    for relative in name.children():
        for attribute in relative.expect(Tag.SET, "RelativeDistinguishedName").children():
            fields = attribute.children()
            kind = _next(fields, attribute, "attribute type").oid()
            value = _next(fields, attribute, "attribute value").content.partition(b"\0")[0]
            if kind == _COMMON_NAME:
                return value
    return value


def _message_digest(attributes: Element) -> bytes | None:
    for attribute in attributes.children():
        fields = attribute.children()
        if _next(fields, attribute, "attribute type").oid() == _MESSAGE_DIGEST:
            values = _next(fields, attribute, "attribute values").expect(Tag.SET, "attribute values")
            return _next(values.children(), values, "messageDigest").content
    return None


def _algorithm(element: Element) -> str:
    return _next(element.expect(Tag.SEQUENCE, "AlgorithmIdentifier").children(), element, "algorithm").oid()


def _next(fields: Iterator[Element], parent: Element, what: str) -> Element:
    field = next(fields, None)
    if field is None:
        raise FormatError(f"CMS: no {what}", path=parent.path, offset=parent.base + parent.end)
    return field
