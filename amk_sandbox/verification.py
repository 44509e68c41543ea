"""Payment-verify: the bank answers from its books what became of a bill.

Codes: 00 answered, 01 transaction not found, 03 another merchant, 04 the question is not
complete, 05 the signature is wrong, 06 the time stamp is too old or too new.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from amk_sandbox.codes import Codes
from amk_sandbox.faults import Effect
from amk_sandbox.moments import paid_datetime
from amk_sandbox.refusal import Refusal
from amk_sandbox.replies import Reply, coded_reply
from amk_sandbox.signing import Signing
from amk_sandbox.transfers import Transfer, Transfers, TransferState
from chassis.money import Currency, Money

WINDOW = timedelta(minutes=5)
_FIELDS = ("merchantId", "storeId", "terminalId", "txId", "timestamp", "hash")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_HUNDREDTHS = 100
_OTHER_CURRENCY = {Currency.USD: Currency.KHR, Currency.KHR: Currency.USD}
_OTHER_MERCHANT = "900000000290999"


@dataclass(frozen=True, kw_only=True)
class Partner:
    """With which key, and by which convention, the partner signs."""

    signing: Signing
    hmac_key: str


class Verification:
    """Answers what became of a bill."""

    def __init__(
        self,
        *,
        partner: Partner,
        codes: Codes,
        transfers: Transfers,
        clock: Callable[[], datetime],
    ) -> None:
        self._partner = partner
        self._codes = codes
        self._transfers = transfers
        self._clock = clock

    def refusal(self, *, form: Mapping[str, str]) -> Reply | None:
        """Return why the question in `form` is not answered, or None."""
        if missing := [name for name in _FIELDS if not form.get(name)]:
            return _refused(400, "04", f"missing: {', '.join(missing)}")
        if not re.fullmatch(r"[0-9]{13}", form["timestamp"]):
            return _refused(400, "04", "timestamp must be epoch milliseconds, 13 digits")
        partner = self._partner
        if not partner.signing.fits(values=form, key=partner.hmac_key, signature=form["hash"]):
            return _refused(401, "05", "invalid hash")
        asked_at = _EPOCH + timedelta(milliseconds=int(form["timestamp"]))
        if abs(self._clock() - asked_at) > WINDOW:
            return _refused(401, "06", "timestamp is more than 5 minutes off")
        merchant = self._codes.merchant
        given = (form["merchantId"], form["storeId"], form["terminalId"])
        if given != (merchant.merchant_id, merchant.store_id, merchant.terminal_id):
            return _refused(403, "03", "unknown merchant, store or terminal")
        return None

    def transfer(self, *, bill_id: int) -> Transfer | None:
        """Return the bill's latest transfer, by code or by bill, if there is one."""
        return self._transfers.latest_of(bill_id=bill_id)

    def answer(self, *, tx_id: str, bill_id: int, effect: Effect | None) -> Reply:
        """Return what the books say of the bill; `effect` is what is wrong with the answer."""
        transfer = self.transfer(bill_id=bill_id)
        if effect is Effect.UNKNOWN:
            return _unknown()
        if transfer is None or effect is Effect.PENDING:
            try:
                amount = transfer.amount if transfer else self._issued(bill_id)
            except Refusal:
                return _unknown()
            return self._answered(tx_id, "PENDING", amount)
        if transfer.state is TransferState.REVERSED:
            return self._answered(tx_id, "REVERSED", transfer.amount)
        paid = {
            "paidDatetime": paid_datetime(moment=datetime.fromisoformat(transfer.paid_at)),
            "bankTransactionId": transfer.bank_transaction_id,
        }
        merchant_id = _OTHER_MERCHANT if effect is Effect.OTHER_MERCHANT else None
        amount = _bent(transfer.amount, effect)
        return self._answered(tx_id, "SUCCESS", amount, merchant_id=merchant_id, paid=paid)

    def _issued(self, bill_id: int) -> Money:
        return self._codes.of_bill(bill_id=bill_id).amount

    def _answered(
        self,
        tx_id: str,
        status: str,
        amount: Money,
        *,
        merchant_id: str | None = None,
        paid: Mapping[str, Any] | None = None,
    ) -> Reply:
        data = {
            "txId": tx_id,
            "merchantId": merchant_id or self._codes.merchant.merchant_id,
            "status": status,
            "amount": Decimal(str(amount)),
            "currency": amount.currency.name,
            **(paid or {}),
        }
        return coded_reply(code="00", message="success", data=data)


def bill_of(*, tx_id: str) -> int:
    """Return the bill that a txId names, 0 where it can name none."""
    return int(tx_id) if re.fullmatch(r"[1-9][0-9]{0,17}", tx_id) else 0


def _refused(status: int, code: str, message: str) -> Reply:
    return coded_reply(status=status, code=code, message=message)


def _unknown() -> Reply:
    return coded_reply(code="01", message="transaction not found")


def _bent(amount: Money, effect: Effect | None) -> Money:
    """Return `amount` as a fault makes it."""
    if effect is Effect.OTHER_AMOUNT:
        return Money(hundredths=amount.hundredths + _UNIT_HUNDREDTHS, currency=amount.currency)
    if effect is Effect.OTHER_CURRENCY:
        whole = amount.hundredths // _UNIT_HUNDREDTHS * _UNIT_HUNDREDTHS
        return Money(hundredths=whole, currency=_OTHER_CURRENCY[amount.currency])
    return amount
