"""Values that nobody else would write, fed in everywhere, and looked for in what comes out."""

import base64
import json
import uuid
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_KHMER = "សុខដារ៉ា"


class Canaries:
    """Every canary by its label; a label says where it was fed."""

    def __init__(self) -> None:
        self._by_label: dict[str, str] = {}

    def __call__(self, label: str) -> str:
        """Return the canary of `label`: 20 letters and digits, made at its first use."""
        return self._by_label.setdefault(label, f"Cnry{uuid.uuid4().hex[:16]}")

    def khmer(self, label: str) -> str:
        """Return a name in Khmer with the canary of `label` inside."""
        # The letters alone are looked for as well: no other Khmer is fed.
        self._by_label.setdefault("khmer", _KHMER)
        return f"{_KHMER} {self(label)}"

    def found_in(self, text: str) -> set[str]:
        """Return the labels whose canary stands in `text`, however it is spelled."""
        return {
            label
            for label, canary in self._by_label.items()
            if any(spelling in text for spelling in _spellings(canary))
        }


def _spellings(canary: str) -> Iterator[str]:
    yield canary
    yield quote(canary)
    yield quote_plus(canary)
    yield json.dumps(canary)[1:-1]
    yield repr(canary.encode())[2:-1]
    yield canary.encode("unicode_escape").decode()
    yield canary.encode().hex()
    # Inside a longer base64 text it stands at one of three offsets.
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + canary.encode())
        yield encoded[4 if offset else 0 : -4].decode()
