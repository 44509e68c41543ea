"""Premium inquiry: ask the insurer what is due, and present it as a bill at one bank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.attempts import repeated
from chassis.database import Database
from chassis.errors import ServiceError
from chassis.group_commit import GroupCommit
from gateway_svc.banks.port import Bank
from gateway_svc.payment import Bill, Lookup
from gateway_svc.policies import NothingDue, Policies, PoliciesUnavailable, PolicyNotFound
from gateway_svc.rows import Overtaken
from gateway_svc.store_lookups import record_lookups


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is owed, as a bill that can be paid now."""

    lookup: Lookup
    bill: Bill


class LookupRecorder:
    """Turns look-ups into bills, a batch in one transaction."""

    def __init__(self, *, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def record(self, lookups: Sequence[Lookup]) -> list[Bill | None]:
        """Return the bill of each look-up, or None where the obligation is already paid.

        :raises DatabaseUnavailable: nothing of the batch is known to be recorded.
        """
        return await repeated(work=lambda: self._record_once(lookups), also_after=(Overtaken,))

    async def _record_once(self, lookups: Sequence[Lookup]) -> list[Bill | None]:
        async with self._database.transaction(name="inquire") as connection:
            return await record_lookups(connection=connection, lookups=lookups, at=self._clock())


async def inquire(
    *,
    bank: Bank,
    number: str,
    policies: Policies,
    recorder: GroupCommit[Lookup, Bill | None],
    clock: Callable[[], datetime],
) -> Due:
    """Return the bill that a customer of `bank` can pay now on `number`.

    :raises ServiceError: RESOURCE_NOT_FOUND (unknown, or nothing due), MERCHANT_NOT_BIND
        (the bank's merchant account does not take the currency), SERVER_UNAVAILABLE.
    """
    looked_up_at = clock()  # before the look-up: of two racing ones the later is right
    try:
        premium = await policies.premium(number)
    except PolicyNotFound:
        raise _not_found("Policy not found", number) from None
    except NothingDue:
        raise _not_found("No premium due", number) from None
    except PoliciesUnavailable as problem:
        raise ServiceError(
            reason="SERVER_UNAVAILABLE",
            message="Premiums cannot be looked up now",
            retry_after_s=5,
        ) from problem
    if premium.money.currency not in bank.currencies:
        raise ServiceError(
            reason="MERCHANT_NOT_BIND",
            message="No merchant account for the bill's currency",
            details=f"Bank: {bank.code}, currency: {premium.money.currency.value}",
        )
    lookup = Lookup(bank_code=bank.code, number=number, premium=premium, looked_up_at=looked_up_at)
    bill = await recorder.submit(lookup)
    if bill is None:
        # Paid here; the insurer's own books may not say so yet.
        raise _not_found("No premium due", number)
    return Due(lookup=lookup, bill=bill)


def _not_found(message: str, number: str) -> ServiceError:
    return ServiceError(reason="RESOURCE_NOT_FOUND", message=message, details=f"Query: {number}")
