"""Signs module files as scripts/sign-file does, with keys made on the spot.

The CMS message comes from the ``cryptography`` package: another's encoder, for our reader to be tried on.
"""

from __future__ import annotations

import datetime as dt
import struct
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

MAGIC = b"~Module signature appended~\n"


@dataclass(frozen=True)
class Signer:
    """A private key and its self-signed certificate."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_id(self) -> bytes:
        extension = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return extension.value.digest


@cache
def signer(name: str = "Example key", *, kind: str = "rsa", serial: int = 0x0123456789ABCDEF) -> Signer:
    """Return a signer called ``name``; equal arguments give one key. ``name`` "" leaves out the CN."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        key = ec.generate_private_key(ec.SECP384R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]
    if name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    subject = x509.Name(attributes)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Signer(key, certificate)


def sign(module: bytes, by: Signer, *, attributes: bool = False, digest: type = hashes.SHA256) -> bytes:
    """Return ``module`` with a PKCS#7 signature; with ``attributes``, those are what is signed."""
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCerts]
    if not attributes:
        options.append(pkcs7.PKCS7Options.NoAttributes)
    message = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(module)
        .add_signer(by.certificate, by.key, digest())
        .sign(serialization.Encoding.DER, options)
    )
    return append(module, message)


def sign_x509(module: bytes, by: Signer, name: bytes = b"Example: key") -> bytes:
    """Return ``module`` signed as kernels from 3.7 to 4.2 did: names in the file, a bare RSA number."""
    assert isinstance(by.key, rsa.RSAPrivateKey)
    number = by.key.sign(module, padding.PKCS1v15(), hashes.SHA512())
    blob = struct.pack(">H", len(number)) + number
    return append(module, blob, digest=6, id_type=1, name=name, key_id=by.key_id)


def append(
    module: bytes,
    blob: bytes,
    *,
    algorithm: int = 0,
    digest: int = 0,
    id_type: int = 2,
    name: bytes = b"",
    key_id: bytes = b"",
    length: int | None = None,
) -> bytes:
    """Return ``module`` with ``blob`` as its signature and any trailer one likes; ``length`` may lie."""
    claimed = len(blob) if length is None else length
    trailer = struct.pack(">5B3xI", algorithm, digest, id_type, len(name), len(key_id), claimed)
    return module + name + key_id + blob + trailer + MAGIC
