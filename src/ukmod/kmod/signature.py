r"""The signature that scripts/sign-file appends to a module.

::

    module | signer's name | key identifier | signature | 12-byte trailer | "~Module signature appended~\n"

The layout is struct module_signature of include/linux/module_signature.h. Since 4.3 it is PKCS#7 only, with
both names inside the message; before that (PGP, X509) they stood in the file.
"""

from __future__ import annotations

import struct

from ukmod.errors import FormatError
from ukmod.kmod import cms
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.elf import ByteSource

__all__ = ["MAGIC", "ModuleSignature", "parse_signature"]

MAGIC = b"~Module signature appended~\n"

_TRAILER = struct.Struct(">5B3xI")
_ALGORITHMS = ("DSA", "RSA")
_HASHES = ("md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3")
_ID_TYPES = ("PGP", "X509", "PKCS#7")


@record
class ModuleSignature:
    """One module's signature.

    ``module_size`` is the number of bytes at the start of the file that are signed. ``signer_info`` is the
    CMS signer for PKCS#7, else None; ``defect`` says why a PKCS#7 message could not be read, else is empty.
    """

    id_type: str
    signer: str
    key_id: bytes
    hash_algorithm: str
    signature: bytes
    module_size: int
    signer_info: cms.SignerInfo | None = None
    defect: str = ""

    @property
    def known_to_kmod(self) -> bool:
        """Whether libkmod can read it: of a PKCS#7 message it wants the signer named by issuer and serial
        number, and a digest it has a name for.
        """
        if self.id_type != "PKCS#7":
            return True
        signer = self.signer_info
        return signer is not None and signer.serial is not None and self.hash_algorithm in _HASHES


def parse_signature(data: ByteSource, *, path: str = "") -> ModuleSignature | None:
    """Return the signature at the end of the module file ``data``, or None if there is none.

    A trailer that lies about what precedes it raises FormatError. A PKCS#7 message that cannot be read does
    not: the file is signed, by whom is unknown (``defect`` tells why), as modinfo reports it too.
    """
    end = len(data) - len(MAGIC)
    if end < 0 or data[end : len(data)] != MAGIC:
        return None
    at = end - _TRAILER.size
    trailer = data[max(at, 0) : end]
    if len(trailer) < _TRAILER.size:
        raise FormatError("cut off before the signature's trailer", path=path, offset=0)
    algorithm, digest, id_type, signer_length, key_id_length, length = _TRAILER.unpack(trailer)
    if algorithm >= len(_ALGORITHMS) or digest >= len(_HASHES) or id_type >= len(_ID_TYPES):
        raise FormatError("the signature's trailer has unknown algorithms", path=path, offset=at)
    if length == 0 or signer_length + key_id_length + length > at:
        raise FormatError(f"a signature of {length} bytes does not fit", path=path, offset=at)
    if _ID_TYPES[id_type] == "PKCS#7":
        return _pkcs7(data[at - length : at], at - length, path)
    key_id_at = at - length - key_id_length
    signer_at = key_id_at - signer_length
    return ModuleSignature(
        id_type=_ID_TYPES[id_type],
        signer=_text(data[signer_at:key_id_at]),
        key_id=data[key_id_at : at - length],
        hash_algorithm=_HASHES[digest],
        signature=data[at - length : at],
        module_size=signer_at,
    )


def _pkcs7(message: bytes, at: int, path: str) -> ModuleSignature:
    try:
        signer, signature = cms.parse_signed_data(message, path=path, base=at)
    except FormatError as error:
        return ModuleSignature("PKCS#7", "", b"", "unknown", b"", at, defect=error.message)
    name = _text(signer.issuer_name)
    return ModuleSignature("PKCS#7", name, signer.key_id, signer.digest, signature, at, signer)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
