"""A configuration value that may lie in a repository: `enc:v1:...`, AES-256-GCM.

The text behind `enc:v1:` is base64url (RFC 4648, 5, without padding) of nonce, ciphertext and tag
(96 bits, as long as the value, 128 bits; NIST SP 800-38D). The associated data is the UTF-8 text
`enc:v1:` and the name of the setting, such as `enc:v1:AMK.signing.key` or
`enc:v1:DATABASE_URL`: a value that is moved to another setting, or to another version of this
form, does not open.

The key file holds one key a line, base64 of 32 bytes; blank lines and lines that start with `#` are
skipped. The first key seals, every one opens: a new key goes on top, values are sealed anew one by
one, and the old key leaves the file with the last of them.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc:v1:"
NONCE_BYTES = 12
KEY_BYTES = 32
_TAG_BYTES = 16
_OWNER_ONLY_MASK = 0o077
_TEXT = re.compile(r"[A-Za-z0-9_-]+={0,2}", re.ASCII)


class SealBroken(Exception):
    """A sealed value or a key file that cannot be used; the text holds neither value nor key."""


def is_sealed(text: str) -> bool:
    """Tell whether `text` says that it is sealed, in this or another version."""
    return text.startswith("enc:")


def seal(*, text: str, name: str, key: bytes, nonce: bytes) -> str:
    """Return `text` sealed for the setting `name`.

    `nonce` is 12 bytes that `key` never saw before. Random ones will do: of 2^32 of them two
    are equal with a chance of 2^-33 (SP 800-38D, 8.3).
    """
    box = nonce + encrypted(key=key, nonce=nonce, plain=text.encode(), associated=_associated(name))
    return PREFIX + base64.urlsafe_b64encode(box).rstrip(b"=").decode()


def unseal(*, sealed: str, name: str, keys: Sequence[bytes]) -> str:
    """Return what `sealed` holds for the setting `name`, opened by the first of `keys` that fits.

    :raises SealBroken: another form, changed, of another setting, or of a key we do not have.
    """
    if not sealed.startswith(PREFIX):
        raise SealBroken(f"sealed values start with {PREFIX}")
    text = sealed.removeprefix(PREFIX)
    if not _TEXT.fullmatch(text):
        raise SealBroken(f"what follows {PREFIX} is no base64url")
    try:
        box = base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        raise SealBroken(f"what follows {PREFIX} is no base64url") from None
    if len(box) <= NONCE_BYTES + _TAG_BYTES:
        raise SealBroken(f"what follows {PREFIX} is too short")
    for key in keys:
        try:
            plain = AESGCM(key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], _associated(name))
            return plain.decode()
        except InvalidTag:
            continue
        except UnicodeDecodeError:
            raise SealBroken("the sealed value is no text") from None
    raise SealBroken(
        "does not open: it was changed, or sealed for another name or with a key that is not in"
        " CONFIG_KEY_FILE"
    )


def encrypted(*, key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
    """Return ciphertext and tag by AES-256-GCM (NIST SP 800-38D)."""
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("AES-256-GCM takes a key of 32 bytes and a nonce of 12")
    return AESGCM(key).encrypt(nonce, plain, associated)


def read_key_file(*, path: Path, must_be_private: bool) -> tuple[bytes, ...]:
    """Return the keys of the file at `path`, the one that seals first.

    :raises SealBroken: unreadable, no key, a line that is none, or others may read it although
        it must be private.
    """
    try:
        if must_be_private and path.stat().st_mode & _OWNER_ONLY_MASK:
            raise SealBroken(f"{path}: others may use it; chmod 600 it")
        text = path.read_text(encoding="ascii")
    except OSError as problem:
        raise SealBroken(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SealBroken(f"{path}: is no text") from None
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            key = base64.b64decode(line.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise SealBroken(f"{path}: line {number}: is not base64 of {KEY_BYTES} bytes")
        keys.append(key)
    if not keys:
        raise SealBroken(f"{path}: holds no key")
    return tuple(keys)


def key_line(*, key: bytes) -> str:
    """Return `key` as a line of a key file."""
    return base64.b64encode(key).decode() + "\n"


def _associated(name: str) -> bytes:
    return f"{PREFIX}{name}".encode()
