"""What the sandbox says when it does not do what it was asked."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class Refusal(Exception):
    """A request that is not carried out: HTTP status, a code for programs, words for people."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:
        """Return the words."""
        return self.message
