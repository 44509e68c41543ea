"""`docs/second-bank.md`, followed word for word on a copy of the tree, brings a bank that works.

| kind of bank             | played by                   | touched                                |
|--------------------------|-----------------------------|----------------------------------------|
| speaks AMK's dialect     | the sandbox                 | `banks.toml`                           |
| has a dialect of its own | `tests/second_bank/tide.py` | `banks.toml`, two new files, two lists |

Through each: a bill payment; a code that is asked for, not paid (422), paid (200), told again;
and AMK beside it is served as before. The programs run the code of the copy.
"""

import asyncio
import base64
import io
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import aiohttp
import pytest
import zxingcpp
from PIL import Image

from amk_sandbox.service import running_sandbox
from amk_sandbox.settings import read_settings
from chassis.settings import SettingError, Variables
from gateway_svc.banks.configuration import read_banks
from gateway_svc.banks.opening import open_bank
from khqr_svc.banks.configuration import BankSettings
from khqr_svc.banks.factory import DIALECTS
from khqr_svc.khqr import parse_khqr
from payctl.bank_checks import sign_in_checks
from payctl.checks import Verdict
from tests.second_bank.copied import (
    POLICIES,
    TREE,
    House,
    contents,
    copied_tree,
    differing,
    house_of,
)
from tests.second_bank.guide import GuideWrong, Section, read_section
from tests.second_bank.tide import HASH_KEY, PASSWORD, SHOP, USERNAME, running_tide

SAME, OWN = "A bank that speaks AMK's dialect", "A bank with a dialect of its own"
MERCHANT = "900000000290002"
AMK_SECRETS = {"amk-username": "insurer", "amk-password": "dummy-1", "amk-hmac-key": "dummy-2"}


def section(title: str) -> Section:
    return read_section(document=(TREE / "docs" / "second-bank.md").read_text(), title=title)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copied_tree(to=tmp_path / "tree")


def followed(tree: Path, title: str) -> None:
    """Follow the guide, and hold what differs afterwards against what it names."""
    before, guide = contents(tree=tree), section(title)
    guide.follow(tree=tree)
    assert differing(before=before, after=contents(tree=tree)) == guide.files


async def pays_a_bill(house: House, bank: str) -> None:
    status, document = await house.call("GET", f"/{bank}/payments?query={POLICIES[0]}", bank=bank)
    assert status == 200, document
    bill = document["data"]["id"]
    notice = {
        "id": bill,
        "policyNumber": POLICIES[0],
        "amount": 150.00,
        "currency": "USD",
        "bankTransactionId": f"{bank}202611260001",
        "payer": "John Doe",
        "paidDate": "20261126120000",
    }
    status, document = await house.call("POST", f"/{bank}/payments", bank=bank, body=notice)
    assert (status, document["data"]["status"]) == (200, "CONFIRMED")
    status, document = await house.call("GET", f"/{bank}/payments/{bill}", bank=bank)
    assert (status, document["data"]["status"]) == (200, "PAID")


async def pays_a_code(
    house: House, bank: str, merchant: str, pay: Callable[[str], Awaitable[Any]]
) -> None:
    """Show a code, tell of its payment before and after `pay`, tell again."""
    status, document = await house.call(
        "GET", f"/khqr?bankCode={bank}&billNumber={POLICIES[1]}", bank=bank
    )
    assert status == 200, document
    image = Image.open(io.BytesIO(base64.b64decode(document["data"]["qrCode"])))
    [read] = zxingcpp.read_barcodes(image.convert("L"))
    code, bill = parse_khqr(read.text), str(document["data"]["paymentId"])
    assert (str(code.money), code.bill_number, code.merchant_id) == ("150.00", bill, merchant)
    notice = {
        "invoice_number": bill,
        "status": "SUCCESS",
        "merchant_number": merchant,
        "paid_amount": 150.00,
        "currency": "USD",
        "paid_datetime": "2026-11-26 12:00:00.123456",
    }

    async def tell() -> tuple[int, Any]:
        return await house.call("POST", f"/{bank}/khqr", bank=bank, body=notice)

    status, document = await tell()
    assert (status, document["error"]["code"]) == (422, "TRANSACTION_VERIFY_FAILED")
    await pay(bill)
    for _ in range(2):
        status, document = await tell()
        assert status == 200, document
        assert document["data"]["status"] == "CONFIRMED"
        assert document["data"]["transactionId"] == f"{bank}_KHQR_{bill}"
    status, document = await house.call("GET", f"/{bank}/payments/{bill}", bank=bank)
    assert (status, document["data"]["status"]) == (200, "PAID")


async def serves_amk_as_before(house: House, other: str) -> None:
    status, document = await house.call("GET", "/AMK/payments?query=UNKNOWN", bank="AMK")
    assert (status, document["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    status, document = await house.call("GET", "/XYZ/payments?query=P1", bank="XYZ")
    assert (status, document["error"]["code"]) == (404, "BANK_NOT_FOUND")
    # A bank speaks for itself alone.
    status, document = await house.call("GET", f"/{other}/payments?query=P1", bank="AMK")
    assert (status, document["error"]["code"]) == (403, "FORBIDDEN")


async def test_a_bank_that_speaks_amks_dialect_needs_a_table_and_nothing_else(
    tree: Path, tmp_path: Path
) -> None:
    followed(tree, SAME)
    given = {
        "SANDBOX_LISTEN": "127.0.0.1:0",
        "VAR_DIR": str(tmp_path / "bank"),
        "SANDBOX_USERNAME": "insurer-at-abc",
        "SANDBOX_PASSWORD": "dummy-abc-password",
        "SANDBOX_HMAC_KEY": "dummy-abc-key",
    }
    secrets = {
        "abc-username": given["SANDBOX_USERNAME"],
        "abc-password": given["SANDBOX_PASSWORD"],
        "abc-hmac-key": given["SANDBOX_HMAC_KEY"],
    }
    (tmp_path / "bank").mkdir()
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(
            running_sandbox(
                settings=read_settings(variables=Variables(environ=given)),
                clock=lambda: datetime.now(tz=UTC),
            )
        )
        house = await stack.enter_async_context(
            house_of(
                tree=tree,
                var=tmp_path / "var",
                secrets=AMK_SECRETS | secrets,
                environ={"ABC_BASE_URL": f"http://{bank.address}"},
            )
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def pay(bill: str) -> None:
            async with http.post(f"http://{bank.address}/sandbox/khqr/{bill}/pay") as response:
                assert response.status < 300, await response.text()

        await pays_a_bill(house, "ABC")
        await pays_a_code(house, "ABC", MERCHANT, pay)
        await serves_amk_as_before(house, "ABC")


async def test_a_bank_with_a_dialect_of_its_own_needs_two_adapters_each_named_once(
    tree: Path, tmp_path: Path
) -> None:
    followed(tree, OWN)
    secrets = {"tide-username": USERNAME, "tide-password": PASSWORD, "tide-key": HASH_KEY}
    async with (
        running_tide() as tide,
        house_of(
            tree=tree,
            var=tmp_path / "var",
            secrets=AMK_SECRETS | secrets,
            environ={"TIDE_BASE_URL": tide.base_url},
        ) as house,
    ):

        async def pay(bill: str) -> None:
            tide.settled.add(bill)

        await pays_a_bill(house, "TIDE")
        await pays_a_code(house, "TIDE", SHOP, pay)
        await serves_amk_as_before(house, "TIDE")
        assert tide.asked[0] == "orders"
        assert tide.asked.count("orders") == 1
        assert tide.asked.count("status") >= 2


async def test_what_the_guide_writes_keeps_the_rules_of_the_house(tree: Path) -> None:
    guide = section(OWN)
    guide.follow(tree=tree)
    files = sorted(path for path in guide.files if path.endswith(".py"))
    ruff = str(Path(sys.executable).with_name("ruff"))
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        process = await asyncio.create_subprocess_exec(
            ruff, *command, *files, cwd=tree, stdout=-1, stderr=-2
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("`khqr_svc/banks/tide.py`, new:", "And then:"), "code that belongs to no step"),
        ((' "AMK": _amk,', ' "AMK": moved,'), "these lines are there 0 times"),
        (("`gateway_svc/banks/tide.py`, new", "`gateway_svc/banks/amk.py`, new"), "already"),
    ],
)
def test_a_guide_that_does_not_fit_the_tree_is_seen(
    tree: Path, change: tuple[str, str], complaint: str
) -> None:
    text = (TREE / "docs" / "second-bank.md").read_text()
    assert change[0] in text
    with pytest.raises(GuideWrong, match=complaint):
        read_section(document=text.replace(*change), title=OWN).follow(tree=tree)


def test_a_dialect_that_nobody_here_speaks_is_refused_by_the_gateway() -> None:
    table = {
        "dialect": "TIDE",
        "currencies": ["USD"],
        "merchant_id": "1",
        "store_id": "2",
        "terminal_id": "3",
        "verify": {"url": "http://bank.example/verify"},
        "signing": {"key": "env:KEY"},
    }
    environ = {"KEY": "dummy-key"}
    banks = read_banks(
        document={"XYZ": table},
        variables=Variables(environ=environ),
        environ=environ,
        var_dir=Path(),
        production=False,
    )

    async def send(_request: Any) -> Any:
        raise AssertionError

    with pytest.raises(SettingError, match=r"XYZ\.dialect: must be one of AMK"):
        open_bank(config=banks["XYZ"], send=send, clock=lambda: datetime.now(tz=UTC))


async def test_the_doctor_tries_no_login_at_a_bank_that_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tide:
        """It is not signed in to."""

    monkeypatch.setitem(cast("dict[str, Any]", DIALECTS), "TIDE", lambda **_parts: Tide())

    def bank(dialect: str) -> BankSettings:
        return BankSettings(code="XYZ", dialect=dialect, currencies=frozenset(), qr=Mock())

    found = {}
    for dialect in ("TIDE", "WAVE"):
        [check] = sign_in_checks(settings=Mock(banks={"XYZ": bank(dialect)}))
        found[dialect] = (await check.ask()).verdict
    assert found == {"TIDE": Verdict.NOT_ASKED, "WAVE": Verdict.RED}
