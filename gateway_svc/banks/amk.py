"""AMK's payment-verify: a signed form out, one answer in, read by configured paths.

Specification, "Payment Verification". Only an explicit yes is a yes: PAID needs an ok code, a
paid status, and the transaction, merchant, amount and currency it speaks of. What is not
recognised is `AMK_UNKNOWN_ERROR`, what did not come is `SERVER_UNAVAILABLE`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse
from chassis.money import Currency, Money, MoneyError, parse_money
from chassis.resilience import RetryingSend, server_failed
from gateway_svc.banks.signing import SigningForm, sign
from gateway_svc.verification import Finding, MerchantAccount, Unanswered, Verification

_OK, _SERVER_ERROR = 200, 500
_PHNOM_PENH = timezone(timedelta(hours=7))  # no daylight saving
_ID_LENGTH = 64
_YEARS = range(2000, 2101)
_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class AnswerShape:
    """Where the answer says what, and which values mean what (`[AMK.verify]`)."""

    ok_codes: frozenset[str] = frozenset({"00"})
    unknown_codes: frozenset[str] = frozenset({"01"})  # the bank does not know the transaction
    paid: frozenset[str] = frozenset({"SUCCESS"})
    unpaid: frozenset[str] = frozenset(
        {"PENDING", "FAILED", "DECLINED", "CANCELLED", "EXPIRED", "REVERSED", "REFUNDED"}
    )
    code: str = "code"
    status: str = "data.status"
    tx_id: str = "data.txId"
    merchant: str = "data.merchantId"
    amount: str = "data.amount"
    currency: str = "data.currency"
    transaction_id: str = "data.bankTransactionId"
    paid_at: str = "data.paidDatetime"
    paid_at_layout: str = "%Y-%m-%d %H:%M:%S.%f"


class AnswerUnreadable(Exception):
    """The answer is not one we recognise; the text says what is wrong and quotes nothing."""


class AmkVerifier:
    """Asks AMK whether a bill was paid by KHQR."""

    def __init__(
        self,
        *,
        account: MerchantAccount,
        url: str,
        form: SigningForm,
        key: str,
        shape: AnswerShape,
        exchange: RetryingSend,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._url = url
        self._form = form
        self._key = key
        self._shape = shape
        self._exchange = exchange
        self._clock = clock

    async def verify(self, *, bill_id: int, ends_at_s: float) -> Finding:
        """Return what the bank says, asked until `ends_at_s` of the monotonic clock."""
        asked_at = self._clock()
        try:
            response = await self._exchange.exchange(
                make_request=lambda: self._request(bill_id),
                may_repeat=server_failed,
                deadline=ends_at_s,
            )
        except ExchangeFailed:
            return _unavailable()
        if response.status >= _SERVER_ERROR:
            return _unavailable()
        try:
            return read_answer(
                response=response,
                shape=self._shape,
                account=self._account,
                bill_id=bill_id,
                asked_at=asked_at,
            )
        except AnswerUnreadable as problem:
            return Unanswered(reason="AMK_UNKNOWN_ERROR", message=f"The bank's answer: {problem}")

    def _request(self, bill_id: int) -> HttpRequest:
        """Return a request signed now: each attempt has its own timestamp and hash."""
        since_epoch = self._clock() - datetime(1970, 1, 1, tzinfo=UTC)
        values = {
            "merchantId": self._account.merchant_id,
            "storeId": self._account.store_id,
            "terminalId": self._account.terminal_id,
            "txId": str(bill_id),
            "timestamp": str(since_epoch // timedelta(milliseconds=1)),
        }
        signature = sign(form=self._form, values=values, key=self._key)
        return HttpRequest(
            method="POST",
            url=self._url,
            timeout_s=2.0,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            # Base64 has + and /, which a form must percent-encode.
            body=urlencode(values | {"hash": signature}).encode(),
        )


def read_answer(
    *,
    response: HttpResponse,
    shape: AnswerShape,
    account: MerchantAccount,
    bill_id: int,
    asked_at: datetime,
) -> Verification:
    """Return what `response` says about the bill.

    :raises AnswerUnreadable: it says nothing that we recognise; nothing else is raised.
    """
    if response.status != _OK:
        raise AnswerUnreadable(f"has the status {response.status}")
    document = _document(response.body)
    digest = hashlib.sha256(response.body).hexdigest()
    code = _text(document, shape.code)
    if code in shape.unknown_codes:
        return _unpaid(digest, asked_at)
    if code not in shape.ok_codes:
        raise AnswerUnreadable("has a code we do not know")
    status = _text(document, shape.status)
    foreign = ""
    if _text(document, shape.tx_id) != str(bill_id):
        foreign = "verified: another transaction"
    elif _text(document, shape.merchant) != account.merchant_id:
        foreign = "verified: another merchant"
    if status in shape.unpaid:
        return _unpaid(digest, asked_at)
    if status not in shape.paid:
        raise AnswerUnreadable("has a status we do not know")
    return Verification(
        paid=True,
        money=_money(document, shape),
        transaction_id=_transaction_id(document, shape),
        paid_at=_paid_at(document, shape),
        foreign=foreign,
        asked_at=asked_at,
        answer_digest=digest,
    )


def _document(body: bytes) -> Mapping[str, Any]:
    """Return the object `body` holds, numbers as their own text; duplicate keys are refused."""
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        raise AnswerUnreadable("is no JSON") from None
    if not isinstance(document, dict):
        raise AnswerUnreadable("is no JSON object")
    return document


class _Number(str):
    """A JSON number by its text."""

    __slots__ = ()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is given twice")
    return found


def _refuse_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _text(document: Mapping[str, Any], path: str) -> str:
    """Return the text or number at `path`."""
    value = _at(document, path)
    if not isinstance(value, str) or not value or len(value) > _ID_LENGTH:
        raise AnswerUnreadable(f"lacks {path}")
    return str(value)


def _money(document: Mapping[str, Any], shape: AnswerShape) -> Money:
    value = _at(document, shape.amount)
    if not isinstance(value, str):
        raise AnswerUnreadable(f"lacks {shape.amount}")
    try:
        money = parse_money(
            text=str(value), currency=Currency.parse(_text(document, shape.currency))
        )
    except MoneyError as problem:
        raise AnswerUnreadable(f"has no amount: {problem}") from None
    if money.hundredths <= 0:
        raise AnswerUnreadable("has an amount that is not positive")
    return money


def _transaction_id(document: Mapping[str, Any], shape: AnswerShape) -> str | None:
    """Return the bank's number of the transfer, None where the answer names none."""
    value = _at(document, shape.transaction_id)
    if value is _MISSING or value is None or value == "":
        return None
    text = _text(document, shape.transaction_id)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AnswerUnreadable(f"has an unprintable {shape.transaction_id}")
    return text


def _paid_at(document: Mapping[str, Any], shape: AnswerShape) -> datetime | None:
    """Return when it was paid, None where the answer does not say.

    A year that no payment can have, such as a program's empty time 0001-01-01, says nothing.
    """
    value = _at(document, shape.paid_at)
    if value is _MISSING or value is None or value == "":
        return None
    try:
        paid_at = datetime.strptime(_text(document, shape.paid_at), shape.paid_at_layout).replace(
            tzinfo=_PHNOM_PENH
        )
    except ValueError:
        raise AnswerUnreadable(f"has no time in {shape.paid_at}") from None
    return paid_at if paid_at.year in _YEARS else None


def _unpaid(digest: str, asked_at: datetime) -> Verification:
    return Verification(
        paid=False,
        money=None,
        transaction_id=None,
        paid_at=None,
        foreign="",
        asked_at=asked_at,
        answer_digest=digest,
    )


def _unavailable() -> Unanswered:
    return Unanswered(
        reason="SERVER_UNAVAILABLE", message="The bank cannot be asked now; it is asked again"
    )
