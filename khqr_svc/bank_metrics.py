"""What is told of the banks that draw codes: exchanges, breakers, tokens."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from chassis.http_client import Send
from chassis.outbound_metrics import OutboundMetrics

CACHED, SIGNED_IN = "cached", "signed_in"
REFUSED, UNAVAILABLE = "refused", "unavailable"


class BankMetrics:
    """The series of every bank; labels are codes of the configuration and words of ours."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        trace: Callable[[str, str, Send], Send] | None = None,
    ) -> None:
        self.outbound = OutboundMetrics(registry=registry, trace=trace)
        self._tokens = Counter(
            "bank_tokens",
            "Tokens of banks, by how they were had: cached, signed_in; or not: refused,"
            " unavailable.",
            ("bank", "outcome"),
            registry=registry,
        )

    def token_heard(self, bank: str) -> Callable[[str], None]:
        """Return what counts how a token of `bank` was had."""
        counters = {
            outcome: self._tokens.labels(bank, outcome)
            for outcome in (CACHED, SIGNED_IN, REFUSED, UNAVAILABLE)
        }
        return lambda outcome: counters[outcome].inc()
