"""The QR generator: a question for a code, and the forms in which the bank gives it."""

import base64
import re
from decimal import Decimal
from typing import Any

import msgspec

from amk_sandbox.codes import Codes
from amk_sandbox.faults import Effect
from amk_sandbox.qr_image import draw_png
from amk_sandbox.replies import Reply, coded_reply, json_reply
from chassis.money import Currency, Money, parse_money

FORMS = ("json", "image", "qrCode", "qrString")
_UNIT_HUNDREDTHS = 100
_NOT_AN_IMAGE = b"This is not an image."
_FORM_OF_EFFECT = {Effect.IMAGE_ONLY: "image", Effect.TEXT_ONLY: "qrString"}


class Question(msgspec.Struct, rename="camel"):
    """What the insurer asks the generator."""

    merchant_id: str
    currency: str
    amount: Decimal
    bill_number: str
    payer: str

    def shown(self) -> dict[str, Any]:
        """Return the question for the page."""
        return {
            "merchantId": self.merchant_id,
            "currency": self.currency,
            "amount": str(self.amount),
            "billNumber": self.bill_number,
            "payer": self.payer,
        }


class Generation:
    """Answers with codes."""

    def __init__(self, *, codes: Codes, form: str) -> None:
        self._codes = codes
        self._form = form

    def answer(self, *, question: Question, effect: Effect | None) -> Reply:
        """Return the code that `question` asks for; `effect` is what is wrong with it."""
        if question.merchant_id != self._codes.merchant.merchant_id:
            return coded_reply(status=403, code="03", message="unknown merchant")
        if not re.fullmatch(r"[1-9][0-9]{0,17}", question.bill_number):
            return _bad("billNumber must be 1 to 18 digits")
        more = _UNIT_HUNDREDTHS if effect is Effect.WRONG_AMOUNT else 0
        try:
            amount = _amount(question)
            code = self._codes.issue(
                bill_id=int(question.bill_number),
                payer=question.payer,
                amount=Money(hundredths=amount.hundredths + more, currency=amount.currency),
                is_crc_wrong=effect is Effect.WRONG_CRC,
            )
        except ValueError as problem:
            return _bad(str(problem))
        return self._written(code.payload, effect)

    def _written(self, payload: str, effect: Effect | None) -> Reply:
        spoiled = effect is Effect.NOT_AN_IMAGE
        image = _NOT_AN_IMAGE if spoiled else draw_png(text=payload)
        form = _FORM_OF_EFFECT.get(effect, self._form) if effect else self._form
        if form == "image":
            shown = f"(image/png, {len(image)} bytes)"
            return Reply(status=200, body=image, content_type="image/png", shown=shown)
        members, shown_members = {}, {}
        if form != "qrString":
            members["qrCode"] = base64.b64encode(image).decode()
            shown_members["qrCode"] = f"(base64 of {len(image)} bytes)"
        if form != "qrCode" and not spoiled:
            members["qrString"] = shown_members["qrString"] = payload
        return json_reply(document=members, shown=shown_members)


def read_question(*, content: bytes) -> Question | None:
    """Return the question in `content`, or None where it is none."""
    try:
        return msgspec.json.decode(content, type=Question)
    except msgspec.DecodeError:
        return None


def _amount(question: Question) -> Money:
    """Return the amount that is asked for.

    :raises ValueError: it is none, or not in a currency of ours.
    """
    amount = parse_money(text=str(question.amount), currency=Currency.parse(question.currency))
    if amount.hundredths <= 0:
        raise ValueError("amount must be positive")
    return amount


def _bad(message: str) -> Reply:
    return coded_reply(status=400, code="04", message=message)
