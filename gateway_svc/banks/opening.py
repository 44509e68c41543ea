"""A configured bank -> a bank that can be asked, with its patience: one breaker per endpoint.

`DIALECTS` is the one place where a bank's own way of asking is named (docs/second-bank.md).
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Protocol

import structlog

from chassis.breaker import Breaker
from chassis.http_client import Send
from chassis.outbound_metrics import OutboundMetrics
from chassis.resilience import Patience, RetryBudget, RetryingSend, guarded, server_failed
from chassis.settings import SettingError
from gateway_svc.banks.amk import AmkVerifier
from gateway_svc.banks.configuration import BankConfig, VerifyConfig
from gateway_svc.banks.port import Bank, Verifier
from gateway_svc.verification import MerchantAccount

VERIFY = "payment-verify"  # what the one endpoint is called
_ATTEMPT_S = 2.0
_SLOW_S = 1.8  # nearly as long as an attempt may take
_ATTEMPTS = 2

_log = structlog.get_logger()


class MakeVerifier(Protocol):
    """Makes what asks in one dialect; nothing is connected."""

    def __call__(
        self,
        *,
        account: MerchantAccount,
        config: VerifyConfig,
        exchange: RetryingSend,
        clock: Callable[[], datetime],
    ) -> Verifier:
        """Return the verifier of `config`."""


def _amk(
    *,
    account: MerchantAccount,
    config: VerifyConfig,
    exchange: RetryingSend,
    clock: Callable[[], datetime],
) -> Verifier:
    return AmkVerifier(
        account=account,
        url=config.url,
        form=config.form,
        key=config.key,
        shape=config.shape,
        exchange=exchange,
        clock=clock,
    )


DIALECTS: Mapping[str, MakeVerifier] = {
    "AMK": _amk,
}


def open_bank(
    *,
    config: BankConfig,
    send: Send,
    clock: Callable[[], datetime],
    breakers: MutableMapping[tuple[str, str], Breaker] | None = None,
    outbound: OutboundMetrics | None = None,
) -> Bank:
    """Return the bank of `config`; nothing is connected.

    `breakers` is given those of its endpoints, by owner and endpoint; `outbound` counts what is
    sent.

    :raises SettingError: the bank speaks a dialect that is not in `DIALECTS`.
    """
    verifier: Verifier | None = None
    if config.account is not None and config.verify is not None:
        if config.dialect not in DIALECTS:
            raise SettingError(
                f"BANKS_FILE: {config.code}.dialect: must be one of {', '.join(DIALECTS)}"
            )
        breaker = Breaker(
            clock=time.monotonic,
            slow_s=_SLOW_S,
            on_change=lambda state: _log.warning(
                "breaker", bank=config.code, endpoint=VERIFY, state=state
            ),
        )
        if breakers is not None:
            breakers[config.code, VERIFY] = breaker
        if outbound is not None:
            send = outbound.measured(peer=config.code, endpoint=VERIFY, send=send)
            outbound.watch_breaker(peer=config.code, endpoint=VERIFY, breaker=breaker)
        verifier = DIALECTS[config.dialect](
            account=config.account,
            config=config.verify,
            exchange=RetryingSend(
                send=guarded(
                    send=send,
                    breaker=breaker,
                    failed=server_failed,
                    attempt_s=_ATTEMPT_S,
                    clock=time.monotonic,
                ),
                patience=Patience(attempts=_ATTEMPTS, attempt_s=_ATTEMPT_S),
                budget=RetryBudget(clock=time.monotonic),
                clock=time.monotonic,
                sleep=asyncio.sleep,
                random=random.random,
            ),
            clock=clock,
        )
    return Bank(
        code=config.code, currencies=config.currencies, account=config.account, verifier=verifier
    )
