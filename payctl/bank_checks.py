"""Checks of the partners: our login, our signature, the premium look-up."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from chassis.http_client import HttpClient
from chassis.settings import SettingError
from gateway_svc.banks.opening import open_bank
from gateway_svc.policies import IntegrationService, NothingDue, PoliciesUnavailable, PolicyNotFound
from gateway_svc.settings import GatewaySettings
from gateway_svc.verification import Finding as BankFinding
from gateway_svc.verification import Unanswered
from khqr_svc.banks.configuration import BankSettings
from khqr_svc.banks.endpoint import Surroundings
from khqr_svc.banks.factory import KhqrServiceFactory
from khqr_svc.banks.port import BankNotUnderstood, BankUnavailable, OutOfTime, SignsIn
from khqr_svc.settings import KhqrSettings
from payctl.checks import Check, Finding, green, not_asked, red

_LIMIT_S = 5.0
_NOBODYS_BILL = 1  # bills begin at 150001: no bank knows this one
_NOBODYS_POLICY = "X000000000"


def sign_in_checks(*, settings: KhqrSettings) -> Iterator[Check]:
    """Yield a check of our login at each bank that draws codes."""
    for code, bank in settings.banks.items():
        if bank.qr is not None:
            yield Check(name=f"{code} takes our login", ask=partial(_sign_in, bank))


def verify_checks(
    *, settings: GatewaySettings, known_bill: int | None, clock: Callable[[], datetime]
) -> Iterator[Check]:
    """Yield checks of each bank's payment-verify: our signature, and a payment that is known."""
    for code in settings.banks:
        yield Check(
            name=f"{code} takes our signature",
            ask=partial(_signature, settings, code, clock),
        )
        yield Check(
            name=f"{code} vouches for a known payment",
            ask=partial(_known, settings, code, known_bill, clock),
        )


def look_up_check(*, settings: GatewaySettings) -> Check:
    """Return a check that the Integration Service answers as agreed."""
    return Check(name="premium look-up", ask=lambda: _look_up(settings))


async def _sign_in(settings: BankSettings) -> Finding:
    async with _http() as http:
        try:
            around = Surroundings(send=http.send, clock=time.monotonic)
            banks = KhqrServiceFactory(settings={settings.code: settings}, around=around)
            bank = banks.bank(bank_code=settings.code)
            if not isinstance(bank, SignsIn):
                return not_asked("this bank wants no sign-in", remedy="Draw a code instead.")
            await bank.sign_in(deadline=time.monotonic() + _LIMIT_S)
            await banks.close()
        except BankNotUnderstood:
            return red(
                "refused, or answered with something else",
                remedy="Check user name and password with the bank.",
            )
        except (BankUnavailable, OutOfTime):
            return red("no answer", remedy="Mend the connection first.")
        except SettingError as problem:
            return red(str(problem), remedy="Mend the setting.")
    return green("a token was given")


async def _signature(
    settings: GatewaySettings, code: str, clock: Callable[[], datetime]
) -> Finding:
    """Ask about a bill that never was: "unknown" is a right answer, and only to a good hash."""
    finding = await _verified(settings, code, _NOBODYS_BILL, clock)
    if finding is None:
        return not_asked("no merchant account at this bank", remedy="Fill in banks.toml.")
    if isinstance(finding, Unanswered):
        return _unanswered(finding)
    if finding.paid:
        return red("says that a bill that never was is paid", remedy="Ask the bank; take no money.")
    return green("an unknown bill is answered as one")


async def _known(
    settings: GatewaySettings, code: str, known_bill: int | None, clock: Callable[[], datetime]
) -> Finding:
    if known_bill is None:
        return not_asked("no payment was named", remedy="--known-bill with one paid by KHQR.")
    finding = await _verified(settings, code, known_bill, clock)
    if finding is None:
        return not_asked("no merchant account at this bank", remedy="Fill in banks.toml.")
    if isinstance(finding, Unanswered):
        return _unanswered(finding)
    if finding.foreign:
        return red(finding.foreign, remedy="Check merchant, store and terminal id.")
    if not finding.paid:
        return red(f"bill {known_bill} is not paid, it says", remedy="Is it a bill paid by KHQR?")
    money = finding.money
    return green(f"bill {known_bill}: {money} {money.currency.value if money else ''}".strip())


async def _verified(
    settings: GatewaySettings, code: str, bill_id: int, clock: Callable[[], datetime]
) -> BankFinding | None:
    async with _http() as http:
        bank = open_bank(config=settings.banks[code], send=http.send, clock=clock)
        if bank.verifier is None:
            return None
        return await bank.verifier.verify(bill_id=bill_id, ends_at_s=time.monotonic() + _LIMIT_S)


def _unanswered(finding: Unanswered) -> Finding:
    if finding.reason == "SERVER_UNAVAILABLE":
        return red("no answer", remedy="Mend the connection first.")
    return red(finding.message, remedy="Compare signature and answer with payctl sign.")


async def _look_up(settings: GatewaySettings) -> Finding:
    async with _http() as http:
        policies = IntegrationService(
            base_url=settings.integration_url,
            send=http.send,
            timeout_s=settings.integration_timeout_s,
        )
        try:
            premium = await policies.premium(_NOBODYS_POLICY)
        except PolicyNotFound:
            return green("an unknown policy is answered as one")
        except NothingDue:
            return green("answers")
        except PoliciesUnavailable as problem:
            return red(str(problem), remedy="Ask whoever runs the Integration Service.")
    return green(f"answers; {premium.policy_number} is a policy there")


@asynccontextmanager
async def _http() -> AsyncIterator[HttpClient]:
    client = HttpClient(connections=2)
    try:
        yield client
    finally:
        await client.close()
        await asyncio.sleep(0)  # closed connections are told so
