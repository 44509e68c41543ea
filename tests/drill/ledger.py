"""What the drill's customers and their bank know: every claim, and every answer to it."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(kw_only=True)
class Claim:
    """One notice that the bank sends until its answer is final."""

    channel: str  # BILL or KHQR
    policy: str
    bill_id: int
    amount: Decimal
    currency: str
    transaction_id: str  # of the bill channel; KHQR money is numbered by the sandbox
    body: bytes
    may_be: frozenset[int] = frozenset({200})  # the final answers that are right
    sent: int = 0
    final_status: int | None = None
    final_body: bytes = b""
    finished: bool = False


@dataclass(kw_only=True)
class Ledger:
    """The memory of one drill."""

    claims: list[Claim] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    acknowledged: int = 0  # 2xx to a claim that money has moved
    codes: int = 0
    bills: int = 0
    modes: Counter[str] = field(default_factory=Counter)

    def violated(self, text: str) -> None:
        """Keep a promise that was broken."""
        self.violations.append(text)
