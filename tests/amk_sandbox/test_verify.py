"""Payment-verify: who may ask, and that the answer is what the books say."""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path

import pytest

from amk_sandbox.signing import FIELDS, Signing
from tests.amk_sandbox.harness import Clock, FakeInsurer, sandbox
from tests.amk_sandbox.partner import VERIFY, Partner

# The dummy key and values of the signing test, and two answers known for them.
DUMMY_KEY = base64.b64encode(bytes(range(64))).decode()
DUMMY = dict(
    zip(
        FIELDS,
        ("900000000290002", "800000000270001", "70000002", "150001", "1759813200000"),
        strict=True,
    )
)
KNOWN = [
    (
        "utf8",
        "v/NBIeqFui7Ni2jHgFUbx3Z9Pp02OXpMAXiBlSVof4FaSzkjdrGPqJ7PajpYCG1d5WjjYwA/wsuMgNAbmne5TQ==",
    ),
    (
        "base64",
        "Yt3f6gI/1hAekmXG6z5dQhPZWL3r35XnV5MoegBVGICjIXkx/2AQqMp/8k/q6L2Tth09PccundTTxSh1OXKvcA==",
    ),
]
CONVENTIONS = [
    (style, separator, encoding, output)
    for style in ("values", "pairs")
    for separator in ("", "|")
    for encoding in ("utf8", "base64")
    for output in ("base64", "hex", "HEX")
]
REFUSED = [
    ({"merchantId": "900000000290003"}, 403, "03"),
    ({"storeId": "800000000270002"}, 403, "03"),
    ({"terminalId": "70000003"}, 403, "03"),
    ({"timestamp": "1795410300001"}, 401, "06"),  # 5 min 1 ms ahead
    ({"timestamp": "1795409699999"}, 401, "06"),
    ({"timestamp": "1795410000"}, 400, "04"),  # seconds
    ({"timestamp": "១795410000000"}, 400, "04"),
]


@pytest.mark.parametrize(("encoding", "signature"), KNOWN)
def test_a_signature_is_the_known_one(encoding: str, signature: str) -> None:
    assert Signing(key_encoding=encoding).sign(values=DUMMY, key=DUMMY_KEY) == signature


@pytest.mark.parametrize(("style", "separator", "encoding", "output"), CONVENTIONS)
async def test_every_convention_can_be_played(
    tmp_path: Path, style: str, separator: str, encoding: str, output: str
) -> None:
    clock = Clock()
    environ = {
        "SANDBOX_SIGNING_STYLE": style,
        "SANDBOX_SIGNING_SEPARATOR": separator,
        "SANDBOX_SIGNING_KEY_ENCODING": encoding,
        "SANDBOX_SIGNING_OUTPUT": output,
        "SANDBOX_HMAC_KEY": DUMMY_KEY,
    }
    environ = {name: value for name, value in environ.items() if value}
    async with sandbox(var=tmp_path, clock=clock, **environ) as client:
        partner = Partner(client, clock, tmp_path / "keys")
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys" / "amk-hmac-key").write_text(DUMMY_KEY)
        form = partner.signed()
        is_default = (style, separator, encoding, output) == ("values", "", "utf8", "base64")
        assert ((await partner.verify(form)).status == 200) is is_default
        joint = separator or ("&" if style == "pairs" else "")
        text = joint.join(
            f"{name}={form[name]}" if style == "pairs" else form[name] for name in FIELDS
        )
        key = DUMMY_KEY.encode() if encoding == "utf8" else base64.b64decode(DUMMY_KEY)
        digest = hmac.new(key, text.encode(), hashlib.sha512).digest()
        form["hash"] = {
            "base64": base64.b64encode(digest).decode(),
            "hex": binascii.hexlify(digest).decode(),
            "HEX": binascii.hexlify(digest).decode().upper(),
        }[output]
        answer = await partner.verify(form)
        assert (answer.status, answer.json["code"]) == (200, "01")


@pytest.mark.parametrize(("other", "status", "code"), REFUSED)
async def test_a_question_that_is_signed_but_wrong_is_refused(
    tmp_path: Path, other: dict[str, str], status: int, code: str
) -> None:
    clock = Clock()
    async with sandbox(var=tmp_path, clock=clock) as client:
        partner = Partner(client, clock, tmp_path / "keys")
        await partner.generate()
        answer = await partner.verify(partner.signed(**other))
        assert (answer.status, answer.json["code"]) == (status, code)
        assert "data" not in answer.json


@pytest.mark.parametrize("field", ["txId", "merchantId", "storeId", "terminalId", "timestamp"])
async def test_a_field_changed_after_it_was_signed_is_refused(tmp_path: Path, field: str) -> None:
    clock = Clock()
    async with sandbox(var=tmp_path, clock=clock) as client:
        partner = Partner(client, clock, tmp_path / "keys")
        form = partner.signed()
        form[field] = form[field][:-1] + ("2" if form[field][-1] != "2" else "3")
        answer = await partner.verify(form)
        assert (answer.status, answer.json["code"]) == (401, "05")


@pytest.mark.parametrize("field", [*FIELDS, "hash"])
async def test_a_field_that_is_missing_is_named(tmp_path: Path, field: str) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        form = partner.signed()
        del form[field]
        answer = await partner.verify(form)
        assert (answer.status, answer.json["code"]) == (400, "04")
        assert field in answer.json["message"]


async def test_json_is_no_form(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.ask(VERIFY, b"{}", Content_Type="application/json")
        assert (answer.status, answer.json["code"]) == (400, "04")


async def test_the_answer_follows_the_books(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        FakeInsurer().listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        partner = Partner(client, clock, tmp_path / "keys")
        answer = await partner.verify(partner.signed())
        assert answer.json == {"code": "01", "message": "transaction not found"}
        await partner.generate()
        answer = await partner.verify(partner.signed())
        pending = {
            "txId": "150001",
            "merchantId": "900000000290002",
            "status": "PENDING",
            "amount": "150.00",
            "currency": "USD",
        }
        assert answer.json == {"code": "00", "message": "success", "data": pending}
        clock.advance(1.25)
        await client.post("/sandbox/khqr/150001/pay")
        answer = await partner.verify(partner.signed())
        assert b'"amount":150.00,' in answer.body
        assert answer.json["data"] == {
            **pending,
            "status": "SUCCESS",
            "paidDatetime": "2026-11-23 12:00:01.250000",
            "bankTransactionId": "AMK202611230001",
        }


async def test_riel_are_answered_without_decimals(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        await partner.generate(amount="615000", currency="KHR")
        answer = await partner.verify(partner.signed())
        assert b'"amount":615000,"currency":"KHR"' in answer.body


async def test_a_bill_paid_in_the_banks_app_is_known_too_and_so_is_its_reversal(
    tmp_path: Path,
) -> None:
    clock, fake = Clock(), FakeInsurer(answers=[(401, "{}")])
    async with (
        fake.listening() as insurer,
        sandbox(var=tmp_path, clock=clock, bridge_url=insurer.url) as client,
    ):
        partner = Partner(client, clock, tmp_path / "keys")
        await client.post("/sandbox/pay?query=P123456789")
        answer = await partner.verify(partner.signed())
        assert answer.json["data"]["status"] == "SUCCESS"
        assert answer.json["data"]["bankTransactionId"] == "AMK202611230001"
        await client.post("/sandbox/transfers/AMK202611230001/reverse")
        answer = await partner.verify(partner.signed())
        assert answer.json["data"]["status"] == "REVERSED"
