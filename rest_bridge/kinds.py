"""What calls share places with each other: those of one method and one partner."""

from collections.abc import Mapping

from rest_bridge import surface as words
from rest_bridge.contract import Method

_PARTNERS = 64  # kinds of a method at most; with more banks the rest share one


class Kinds:
    """Names kinds of calls.

    One partner's slow bank must not cost another one its places. A partner is one that a
    service has answered for: a caller cannot make kinds.
    """

    def __init__(self) -> None:
        self._partners: set[str] = set()

    def of(self, *, method: Method, path: Mapping[str, str]) -> str:
        """Return the kind of a call of `method` with the variables `path`."""
        partner = path.get(words.PARTNER, "")
        return f"{method.full_name} {partner}" if partner in self._partners else method.full_name

    def meet(self, *, path: Mapping[str, str]) -> None:
        """Take in that a service has answered for the partner of `path`."""
        if words.PARTNER in path and len(self._partners) < _PARTNERS:
            self._partners.add(path[words.PARTNER])
