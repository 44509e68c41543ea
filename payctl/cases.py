"""A case of the bank's sign-off: what is done, what must be seen, and how it came out."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from payctl.examiner import Evidence, Examiner, Unlike


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the sign-off; `channel` is BILL, KHQR or both."""

    name: str
    channel: str
    expects: str
    run: Callable[[Examiner], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case came out: `unlike` says what was otherwise, empty where nothing was."""

    case: Case
    unlike: str
    took_s: float
    evidence: Sequence[Evidence]

    @property
    def passed(self) -> bool:
        """Whether all that must be seen was."""
        return not self.unlike


async def run_case(*, case: Case, examiner: Examiner) -> Outcome:
    """Run one case; whatever goes wrong, the others are run after it."""
    started_s = time.monotonic()
    unlike = ""
    try:
        await case.run(examiner)
    except Unlike as problem:
        unlike = str(problem)
    except (OSError, TimeoutError) as problem:
        unlike = f"expected an answer, saw none ({type(problem).__name__})"
    except (KeyError, ValueError, TypeError) as problem:
        unlike = f"expected an answer of the contract, saw another ({type(problem).__name__})"
    return Outcome(
        case=case,
        unlike=unlike,
        took_s=time.monotonic() - started_s,
        evidence=tuple(examiner.evidence),
    )
