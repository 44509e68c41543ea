"""A code that says something else is never handed out, never recorded, and wakes somebody.

| what the bank draws                                     | answer            |
|---------------------------------------------------------|-------------------|
| another amount, currency, checksum, merchant, bill      | AMK_UNKNOWN_ERROR |
| no amount, a code that is over, no KHQR at all          | AMK_UNKNOWN_ERROR |
| a picture and a text that differ                        | AMK_UNKNOWN_ERROR |
| a picture of two codes, of none, no picture             | AMK_UNKNOWN_ERROR |
"""

import base64
import io
from datetime import timedelta

import pytest
from PIL import Image
from structlog.testing import capture_logs

from tests.khqr_svc.codes import CREATED_MS, STATIC, parts, written
from tests.khqr_svc.fakes import answer, code_text, picture
from tests.khqr_svc.stage import Stage

BIG_CHANGE = {"00": str(CREATED_MS - 2), "01": str(CREATED_MS)}
WRONG = {
    "another amount": code_text(amount="151"),
    "a hundredth more": code_text(amount="150.01"),
    "another currency": code_text(change={"53": "116"}),
    "another checksum": code_text()[:-1] + ("0" if code_text()[-1] != "0" else "1"),
    "another merchant": code_text(
        change=parts(
            {"30": {"00": "amkbkhppxxx@amkb", "01": "", "02": "AMK Bank"}},
            "30",
            {"01": "900000000290003"},
        )
    ),
    "a person's account": code_text(change={"30": "", "29": {"00": "somebody@amkb"}}),
    "another bill": code_text(bill_id=150002),
    "no bill": code_text(change={"62": {"07": "70000002"}}),
    "no amount": written(STATIC),
    "over": code_text(change={"99": BIG_CHANGE}),
    "no KHQR": "https://example.com/pay",
    "one character too many": code_text() + " ",
}


async def refusal(stage: Stage) -> list[str]:
    """Return the alerts of one call that must end with AMK_UNKNOWN_ERROR."""
    with capture_logs() as logs:
        assert await stage.reason() == "AMK_UNKNOWN_ERROR"
    assert stage.gateway.count("RecordKhqr") == 0
    assert "John Doe" not in str(logs)
    return [line["event"] for line in logs if line.get("alert")]


@pytest.mark.parametrize("shape", ["qrCode", "qrString"])
@pytest.mark.parametrize("name", WRONG)
async def test_a_code_that_says_something_else_is_never_handed_out(
    stage: Stage, name: str, shape: str
) -> None:
    stage.bank.text = WRONG[name]
    stage.bank.shape = shape
    assert await refusal(stage) == ["khqr_code_refused"]


async def test_the_alert_names_bank_bill_tag_and_bakongs_key(stage: Stage) -> None:
    stage.bank.text = WRONG["another amount"]
    with capture_logs() as logs:
        await stage.reason()
    (alert,) = [line for line in logs if line["event"] == "khqr_code_refused"]
    assert (alert["bank"], alert["bill_id"], len(alert["md5"])) == ("AMK", 150001, 32)
    assert alert["why"] == "tag 54: is 151.00 USD, the bill 150.00 USD"


async def test_a_live_code_does_not_hide_a_refused_one(stage: Stage) -> None:
    stage.gateway.keep(text=code_text(), left=timedelta(minutes=4))
    stage.bank.text = WRONG["another amount"]
    assert await refusal(stage) == ["khqr_code_refused"]


async def test_a_bank_whose_tags_are_not_listed_is_not_compared_by_them(stage: Stage) -> None:
    stage.bank.text = WRONG["another bill"]
    assert (await stage.generate(bank="USDONLY")).qr_code  # its [qr] lists no checks


async def test_a_picture_and_a_text_that_differ_are_refused(stage: Stage) -> None:
    image = base64.b64encode(picture(code_text())).decode()
    other = code_text(amount="150.00")
    body = f'{{"qrCode":"{image}","qrString":"{other}"}}'.encode()
    stage.bank.on_qr = answer(200, body)
    assert await refusal(stage) == ["khqr_code_refused"]


def beside(left: bytes, right: bytes) -> bytes:
    one, other = Image.open(io.BytesIO(left)), Image.open(io.BytesIO(right))
    both = Image.new("L", (one.width + other.width, max(one.height, other.height)), 255)
    both.paste(one, (0, 0))
    both.paste(other, (one.width, 0))
    written_to = io.BytesIO()
    both.save(written_to, format="PNG")
    return written_to.getvalue()


@pytest.mark.parametrize(
    "image",
    [
        beside(picture(code_text()), picture(WRONG["another merchant"])),
        beside(picture(code_text()), picture(code_text())),
        b"<html><body>Gateway time-out</body></html>",
        picture(code_text())[:200],
        b"\x89PNG\r\n\x1a\n",
    ],
)
async def test_what_is_no_picture_of_one_code_is_refused(stage: Stage, image: bytes) -> None:
    stage.bank.on_qr = answer(200, image, "image/png")
    assert await refusal(stage) == ["khqr_answer_not_understood"]
