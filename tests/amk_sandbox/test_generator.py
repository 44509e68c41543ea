"""The QR generator: what it refuses, and that its codes are real."""

from pathlib import Path

import pytest

from tests.amk_sandbox.harness import Clock, sandbox
from tests.amk_sandbox.partner import Partner, crc_is_right, image_of, scanned, tags

REFUSED = [
    ({"merchantId": "900000000290003"}, 403, "03"),
    ({"currency": "EUR"}, 400, "04"),
    ({"amount": "0"}, 400, "04"),
    ({"amount": "-1.00"}, 400, "04"),
    ({"amount": "1.005"}, 400, "04"),
    ({"amount": "1e2"}, 400, "04"),
    ({"amount": "12345678901234"}, 400, "04"),  # 14 characters; a code has room for 13
    ({"amount": "[]"}, 400, "04"),
    ({"currency": "KHR", "amount": "0.5"}, 400, "04"),
    ({"bill": "P123456789"}, 400, "04"),
    ({"bill": "0"}, 400, "04"),
    ({"bill": "1" * 19}, 400, "04"),
]
FORMS = [
    ("json", {"qrCode", "qrString"}),
    ("qrCode", {"qrCode"}),
    ("qrString", {"qrString"}),
]


@pytest.mark.parametrize(
    ("amount", "currency", "written"), [("150.00", "USD", "150"), ("615000", "KHR", "615000")]
)
async def test_a_code_says_what_was_asked_for(
    tmp_path: Path, amount: str, currency: str, written: str
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.generate(amount=amount, currency=currency)
        assert answer.status == 200
        text = answer.json["qrString"]
        assert scanned(image_of(answer)) == text
        assert crc_is_right(text)
        found = tags(text)
        assert found["54"] == written
        assert tags(found["62"])["01"] == "150001"
        assert tags(found["30"])["01"] == "900000000290002"
        created, expires = (int(tags(found["99"])[tag]) for tag in ("00", "01"))
        assert (created, expires - created) == (1795410000000, 30 * 60 * 1000)
        (code,) = (await client.state())["codes"]
        assert (code["payload"], code["billId"], code["state"]) == (text, 150001, "LIVE")
        assert (code["amount"], code["currency"]) == (amount, currency)


@pytest.mark.parametrize(("other", "status", "code"), REFUSED)
async def test_a_bad_question_is_refused_and_issues_nothing(
    tmp_path: Path, other: dict[str, str], status: int, code: str
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.generate(**other)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert (await client.state())["codes"] == []


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer nonsense", "Basic dTpw"])
async def test_without_a_good_token_there_is_no_code(tmp_path: Path, token: str) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.ask("/qr/generator", b"{}", Authorization=token)
        assert (answer.status, answer.json["code"]) == (401, "05")


@pytest.mark.parametrize(("form", "members"), FORMS)
async def test_the_form_of_the_answer_is_a_setting(
    tmp_path: Path, form: str, members: set[str]
) -> None:
    async with sandbox(var=tmp_path, clock=Clock(), SANDBOX_QR_FORM=form) as client:
        answer = await Partner(client, Clock(), tmp_path / "keys").generate()
        assert set(answer.json) == members


async def test_an_image_is_a_form_too(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock(), SANDBOX_QR_FORM="image") as client:
        answer = await Partner(client, Clock(), tmp_path / "keys").generate()
        assert answer.content_type == "image/png"
        assert scanned(answer.body) == (await client.state())["codes"][0]["payload"]


async def test_a_new_code_of_a_bill_is_another_one_and_both_survive_a_restart(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with sandbox(var=tmp_path, clock=clock) as client:
        partner = Partner(client, clock, tmp_path / "keys")
        for _ in range(2):
            await partner.generate()
            clock.advance(1)
        before = (await client.state())["codes"]
        assert len({code["md5"] for code in before}) == 2
    async with sandbox(var=tmp_path, clock=clock) as client:
        assert (await client.state())["codes"] == before


async def test_the_operator_sees_the_image_of_a_code(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        await Partner(client, Clock(), tmp_path / "keys").generate()
        (code,) = (await client.state())["codes"]
        async with client.session.get(client.base + code["image"]) as response:
            assert response.content_type == "image/png"
            assert scanned(await response.read()) == code["payload"]
        assert (await client.get("/sandbox/khqr/7/image"))[0] == 404
