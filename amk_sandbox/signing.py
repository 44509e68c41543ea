"""How a question to payment-verify is signed.

AMK does not publish the signed string (specification, "Payment Verification": HMAC-SHA512),
so every convention that its siblings use can be played.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

FIELDS = ("merchantId", "storeId", "terminalId", "txId", "timestamp")
STYLES = ("values", "pairs")
KEY_ENCODINGS = ("utf8", "base64")
OUTPUTS = ("base64", "hex", "HEX")


@dataclass(frozen=True, kw_only=True)
class Signing:
    """One convention: which fields, joined how, under which key, written how."""

    fields: tuple[str, ...] = FIELDS
    style: str = "values"
    separator: str = ""
    key_encoding: str = "utf8"
    output: str = "base64"

    def sign(self, *, values: Mapping[str, str], key: str) -> str:
        """Return the signature of `values`.

        :raises ValueError: the key is not base64 where the convention decodes it.
        """
        parts = [
            f"{name}={values[name]}" if self.style == "pairs" else values[name]
            for name in self.fields
        ]
        digest = hmac.digest(
            key_bytes(key=key, encoding=self.key_encoding),
            self.separator.join(parts).encode(),
            hashlib.sha512,
        )
        if self.output == "base64":
            return base64.b64encode(digest).decode()
        return digest.hex() if self.output == "hex" else digest.hex().upper()

    def fits(self, *, values: Mapping[str, str], key: str, signature: str) -> bool:
        """Return whether `signature` is the one of `values`, compared in constant time."""
        expected = self.sign(values=values, key=key)
        return hmac.compare_digest(expected.encode(), signature.encode())


def key_bytes(*, key: str, encoding: str) -> bytes:
    """Return the bytes that the text of a key stands for.

    :raises ValueError: it is not base64 where `encoding` says so.
    """
    if encoding == "utf8":
        return key.encode()
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error:
        raise ValueError("the key is not base64") from None
