"""A folder of static files as HTTP answers: read once, named by their content, strict.

Pages of ours need no build step and nobody else's server, so their policy is short: our own
files alone, no inline script or style, no frame around the page.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KIT = Path(__file__).parent / "kit"
KIT_PATH = "/kit/"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_TAG_HEX = 32  # 128 bits of SHA-256 tell two versions of a file apart


class UnknownType(Exception):
    """A file whose ending has no content type here: it would be served wrongly."""


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A file as it is answered with."""

    body: bytes
    content_type: str  # without its charset, which is UTF-8
    tag: str  # the value of `ETag`

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of its answer beside type and length.

        `no-cache` lets browsers keep the file but ask each time: after an update nobody runs
        half an old page, and what did not change costs a 304 of no bytes.
        """
        return {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "ETag": self.tag,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }


def is_known(*, tag: str, if_none_match: str) -> bool:
    """Return whether a caller that sent this `If-None-Match` has the answer `tag` already."""
    tags = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return bool(tag) and (tag in tags or "*" in tags)


def read_folder(*, folder: Path, at: str) -> Mapping[str, StaticFile]:
    """Return every file below `folder` by its path, which starts with `at`.

    This function will read them all now, so that no request reaches the disk and no name
    in a request is ever joined to a path.

    :raises UnknownType: a file's ending has no content type here.
    """
    return {
        f"{at}{path.relative_to(folder).as_posix()}": _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _read(path: Path) -> StaticFile:
    content_type = _TYPES.get(path.suffix)
    if content_type is None:
        raise UnknownType(f"{path.name}: no content type for {path.suffix or 'no ending'}")
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:_TAG_HEX]
    return StaticFile(body=body, content_type=content_type, tag=f'"{tag}"')
