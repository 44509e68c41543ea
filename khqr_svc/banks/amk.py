"""AMK draws a KHQR code: `POST /qr/generator {merchantId, currency, amount, billNumber, payer}`.

The answer is a picture, or JSON with `qrCode` (a picture, base64) and/or `qrString` (the text).
A bank that speaks like AMK needs no file of its own: `dialect = "AMK"`.
"""

import base64
import binascii
import re
from decimal import Decimal

import msgspec

from chassis.http_client import HttpResponse
from chassis.money import Currency
from chassis.resilience import never_sent, server_failed
from khqr_svc.banks.amk_sign_in import AmkSignIn
from khqr_svc.banks.configuration import BankSettings, QrEndpoints
from khqr_svc.banks.endpoint import Endpoint, Surroundings
from khqr_svc.banks.port import BankNotUnderstood, DrawnCode
from khqr_svc.code import Bill, MerchantAccount

_OK, _UNAUTHORIZED = 200, 401
_DATA_URL = re.compile(r"data:image/[a-z+.-]{1,20};base64,", re.ASCII)
_BLANKS = re.compile(r"\s+")
_encoder = msgspec.json.Encoder(decimal_format="number")  # 150.00 stays 150.00


class _Answer(msgspec.Struct, rename="camel"):
    qr_code: str | None = None
    qr_string: str | None = None


class AmkKhqrBank:
    """AMK, or a bank that speaks like it, and our merchant account there."""

    def __init__(self, *, settings: BankSettings, qr: QrEndpoints, around: Surroundings) -> None:
        self._settings = settings
        self._qr = qr
        self._sign_in = AmkSignIn(
            endpoint=Endpoint(
                bank_code=settings.code,
                name="sign-in",
                url=qr.base_url + qr.sign_in_path,
                around=around,
                may_repeat=server_failed,
            ),
            username=qr.username,
            password=qr.password,
            clock=around.clock,
            heard=None if around.metrics is None else around.metrics.token_heard(settings.code),
        )
        self._generator = Endpoint(
            bank_code=settings.code,
            name="qr-generator",
            url=qr.base_url + qr.qr_path,
            around=around,
            # A code may be paid as soon as it exists: only what never arrived is asked twice.
            may_repeat=never_sent,
        )

    @property
    def code(self) -> str:
        """The bank's code; see `KhqrBank`."""
        return self._settings.code

    @property
    def account(self) -> MerchantAccount:
        """Our account there."""
        return self._qr.account

    @property
    def currencies(self) -> frozenset[Currency]:
        """What the account takes."""
        return self._settings.currencies

    @property
    def checks(self) -> frozenset[str]:
        """What of a code is compared, beside checksum, amount and currency."""
        return self._qr.checks

    async def draw(self, *, bill: Bill, deadline: float) -> DrawnCode:
        """Return a code that should ask for `bill`; see `KhqrBank`."""
        body = _encoder.encode(
            {
                "merchantId": self._qr.account.merchant_id,
                "currency": bill.money.currency.value,
                "amount": Decimal(str(bill.money)),
                "billNumber": str(bill.bill_id),
                "payer": bill.payer,
            }
        )
        token = await self._sign_in.token(deadline=deadline)
        response = await self._ask(body, token, deadline)
        if response.status == _UNAUTHORIZED:
            self._sign_in.forget(token=token)
            token = await self._sign_in.token(deadline=deadline)
            response = await self._ask(body, token, deadline)
        return parse_drawn(response)

    async def sign_in(self, *, deadline: float) -> None:
        """Return if our login is taken; see `SignsIn`."""
        await self._sign_in.token(deadline=deadline)

    async def close(self) -> None:
        """Stop a sign-in under way."""
        await self._sign_in.close()

    async def _ask(self, body: bytes, token: str, deadline: float) -> HttpResponse:
        return await self._generator.post(
            body=body, headers={"Authorization": f"Bearer {token}"}, deadline=deadline
        )


def parse_drawn(response: HttpResponse) -> DrawnCode:
    """Return the code that `response` holds, told by its content: banks mislabel theirs.

    :raises BankNotUnderstood: it holds none.
    """
    if response.status != _OK:
        raise BankNotUnderstood(f"the QR generator answered {response.status}")
    body = response.body.strip()
    if not body:
        raise BankNotUnderstood("the QR generator answered nothing")
    if not body.startswith(b"{"):
        return DrawnCode(image=response.body, payload=None)
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        image = base64.b64decode(_plain(answer.qr_code or ""), validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error, ValueError):
        raise BankNotUnderstood("the QR generator answered JSON without a code") from None
    if not image and not answer.qr_string:
        raise BankNotUnderstood("the QR generator answered JSON without a code")
    return DrawnCode(image=image or None, payload=answer.qr_string or None)


def _plain(text: str) -> str:
    return _BLANKS.sub("", _DATA_URL.sub("", text, count=1))
