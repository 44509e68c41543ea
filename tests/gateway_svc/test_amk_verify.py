"""AMK's payment-verify as the gateway asks and reads it.

| the answer                                         | is read as                          |
|----------------------------------------------------|-------------------------------------|
| ok code, paid status, our transaction and merchant | paid, with its amount               |
| the same about another transaction or merchant     | foreign: vouches for nothing here   |
| an unpaid status, an unknown transaction           | not paid                            |
| time-out, refused, cut, 5xx                        | SERVER_UNAVAILABLE                  |
| anything else, forty ways                          | AMK_UNKNOWN_ERROR; never paid       |
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from chassis.http_client import HttpClient, HttpResponse
from chassis.money import Currency, Money
from gateway_svc.banks.amk import AnswerShape, AnswerUnreadable, read_answer
from gateway_svc.banks.configuration import BankConfig, VerifyConfig
from gateway_svc.banks.opening import open_bank
from gateway_svc.banks.signing import SigningForm, sign
from gateway_svc.verification import Finding, Unanswered, Verification
from tests.support.khqr_ledger import ACCOUNT

NOW = datetime(2025, 10, 7, 5, 0, tzinfo=UTC)
KEY = "a dummy key, of no bank"
GOOD = (
    b'{"code":"00","message":"ok","data":{"txId":"150001","merchantId":"900000000290002",'
    b'"status":"SUCCESS","amount":150.00,"currency":"USD",'
    b'"paidDatetime":"2025-10-07 12:00:00.123456","bankTransactionId":"B1"}}'
)


def read(body: bytes, status: int = 200) -> Verification:
    return read_answer(
        response=HttpResponse(status=status, headers={}, body=body),
        shape=AnswerShape(),
        account=ACCOUNT,
        bill_id=150001,
        asked_at=NOW,
    )


def test_an_explicit_yes_is_paid_with_all_it_says() -> None:
    answer = read(GOOD)
    assert (answer.paid, answer.foreign, answer.transaction_id) == (True, "", "B1")
    assert answer.money == Money(hundredths=15000, currency=Currency.USD)
    assert answer.paid_at == datetime(2025, 10, 7, 5, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"150.00", b'"150.00"'),
        (b"150.00", b"150"),
        (b'"txId":"150001"', b'"txId":150001'),
        (b',"bankTransactionId":"B1"', b""),
        (b'"bankTransactionId":"B1"', b'"bankTransactionId":null'),
        (b'"paidDatetime":"2025-10-07 12:00:00.123456",', b""),
        (b'"message":"ok"', b'"message":"ok","more":{"a":[1,2.5e3]}'),
    ],
)
def test_what_a_bank_may_spell_otherwise_is_still_paid(old: bytes, new: bytes) -> None:
    assert old in GOOD
    answer = read(GOOD.replace(old, new))
    assert answer.paid
    assert not answer.foreign


@pytest.mark.parametrize(
    "change", [(b'"150001"', b'"150002"'), (b"900000000290002", b"900000000290003")]
)
def test_an_answer_about_something_else_is_foreign(change: tuple[bytes, bytes]) -> None:
    assert read(GOOD.replace(*change)).foreign


@pytest.mark.parametrize(
    "body",
    [
        *(GOOD.replace(b"SUCCESS", status) for status in (b"PENDING", b"FAILED", b"REVERSED")),
        b'{"code":"01","message":"not found"}',
        GOOD.replace(b'"00"', b'"01"'),
    ],
)
def test_anything_but_paid_is_not_paid(body: bytes) -> None:
    assert not read(body).paid


@pytest.mark.parametrize("year", [b"0001", b"1999", b"2101", b"9999"])
def test_a_year_that_no_payment_can_have_says_nothing(year: bytes) -> None:
    answer = read(GOOD.replace(b"2025-10", year + b"-01"))
    assert (answer.paid, answer.paid_at) == (True, None)


MALFORMED = [
    b"",
    b"null",
    b"[]",
    b'"SUCCESS"',
    b"<html>ok</html>",
    b"{",
    GOOD[:-1],
    GOOD + b"x",
    GOOD + GOOD,
    b"\xff" + GOOD,
    GOOD.decode().encode("utf-16"),
    b"[" * 100_000,
    GOOD.replace(b'"code":"00"', b'"code":"00","code":"00"'),
    GOOD.replace(b'"amount":150.00', b'"amount":1.00,"amount":150.00'),
    GOOD.replace(b'"00"', b'"99"'),
    GOOD.replace(b'"00"', b"null"),
    GOOD.replace(b'"00"', b"true"),
    GOOD.replace(b'"00"', b"[]"),
    GOOD.replace(b'"00"', b'""'),
    GOOD.replace(b'"code":"00",', b""),
    GOOD.replace(b"SUCCESS", b"success"),
    GOOD.replace(b"SUCCESS", b"SUCCESS "),
    GOOD.replace(b"SUCCESS", b"OK"),
    GOOD.replace(b'"SUCCESS"', b"true"),
    GOOD.replace(b'"SUCCESS"', b'["SUCCESS"]'),
    GOOD.replace(b'"status":"SUCCESS",', b""),
    GOOD.replace(b"150.00", b"null"),
    GOOD.replace(b"150.00", b"true"),
    GOOD.replace(b"150.00", b"NaN"),
    GOOD.replace(b"150.00", b"Infinity"),
    GOOD.replace(b"150.00", b"1.5e2"),
    GOOD.replace(b"150.00", b"150.001"),
    GOOD.replace(b"150.00", b"-150.00"),
    GOOD.replace(b"150.00", b"0"),
    GOOD.replace(b"150.00", b'"150,00"'),
    GOOD.replace(b"150.00", b"9" * 5000),
    GOOD.replace(b'"amount":150.00,', b""),
    GOOD.replace(b'"USD"', b'"EUR"'),
    GOOD.replace(b'"USD"', b"840"),
    GOOD.replace(b',"currency":"USD"', b""),
    GOOD.replace(b'"txId":"150001",', b""),
    GOOD.replace(b'"150001"', b"null"),
    GOOD.replace(b'"150001"', b'{"a":1}'),
    GOOD.replace(b'"merchantId":"900000000290002",', b""),
    GOOD.replace(b'"900000000290002"', b"[]"),
    GOOD.replace(b"2025-10-07 12:00:00.123456", b"yesterday"),
    GOOD.replace(b"2025-10-07 12:00:00.123456", b"2025-02-30 12:00:00.000000"),
    GOOD.replace(b'"B1"', b"[]"),
    GOOD.replace(b'"B1"', b'"a b"'),
    GOOD.replace(b'"B1"', b'"' + b"B" * 65 + b'"'),
    b'{"code":"00","data":"SUCCESS"}',
    b'{"code":"00","data":null}',
    b'{"code":"00"}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_answer_is_unreadable_and_nothing_else(body: bytes) -> None:
    assert body != GOOD
    with pytest.raises(AnswerUnreadable):
        read(body)


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 404, 429])
def test_an_answer_of_another_status_is_unreadable(status: int) -> None:
    with pytest.raises(AnswerUnreadable):
        read(GOOD, status)


@given(st.binary(max_size=300))
def test_no_bytes_confirm_or_raise_anything_else(body: bytes) -> None:
    try:
        answer = read(body)
    except AnswerUnreadable:
        return
    assert not answer.paid


@example(150001)  # the bill's own number, which a bank may write as one
@example("USD")
@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=4))
def test_no_value_in_place_of_a_member_confirms_or_raises_anything_else(value: object) -> None:
    for name in ("txId", "merchantId", "status", "amount", "currency", "bankTransactionId"):
        document = json.loads(GOOD)
        if str(value) == document["data"][name]:
            continue  # it says the same
        document["data"][name] = value
        try:
            answer = read(json.dumps(document).encode())
        except AnswerUnreadable:
            continue
        assert not answer.paid or answer.foreign or name in {"amount", "bankTransactionId"}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asked(handler: Handler, *, ends_in_s: float = 4.0) -> AsyncIterator[Finding]:
    """Serve `handler` as the bank, ask it about bill 150001, and yield the finding."""
    app = web.Application()
    app.router.add_post("/verify", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = HttpClient(connections=4)
    bank = open_bank(
        config=BankConfig(
            code="AMK",
            currencies=frozenset(Currency),
            account=ACCOUNT,
            verify=VerifyConfig(
                url=f"http://127.0.0.1:{runner.addresses[0][1]}/verify",
                form=SigningForm(),
                key=KEY,
                shape=AnswerShape(),
            ),
        ),
        send=client.send,
        clock=lambda: NOW,
    )
    assert bank.verifier is not None
    try:
        yield await bank.verifier.verify(bill_id=150001, ends_at_s=time.monotonic() + ends_in_s)
    finally:
        await client.close()
        await runner.cleanup()


async def test_the_question_is_the_specifications_form_signed() -> None:
    seen: list[bytes] = []

    async def bank(request: web.Request) -> web.Response:
        seen.append(await request.read())
        assert request.content_type == "application/x-www-form-urlencoded"
        return web.Response(body=GOOD, content_type="application/json")

    async with asked(bank) as finding:
        assert isinstance(finding, Verification)
        assert finding.paid
    [body] = seen
    form = {name: value for name, [value] in parse_qs(body.decode(), strict_parsing=True).items()}
    signature = form.pop("hash")
    assert form == {
        "merchantId": "900000000290002",
        "storeId": "800000000270001",
        "terminalId": "70000002",
        "txId": "150001",
        "timestamp": "1759813200000",
    }
    assert signature == sign(form=SigningForm(), values=form, key=KEY)
    assert b"+" not in body


async def test_a_first_failure_is_tried_again_and_signed_again() -> None:
    bodies: list[bytes] = []

    async def bank(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        if len(bodies) == 1:
            return web.Response(status=500)
        return web.Response(body=GOOD)

    async with asked(bank) as finding:
        assert isinstance(finding, Verification)
    assert len(bodies) == 2


@pytest.mark.parametrize("kind", ["500", "hangs", "byte by byte", "cut", "redirect", "html"])
async def test_a_bank_that_gives_no_answer_is_unavailable_or_unknown(kind: str) -> None:
    async def bank(request: web.Request) -> web.StreamResponse:
        if kind == "500":
            return web.Response(status=500)
        if kind == "redirect":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if kind == "html":
            return web.Response(text="<html>login</html>", content_type="text/html")
        if kind == "hangs":
            await asyncio.sleep(30)
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in GOOD:
            await response.write(bytes([byte]))
            if kind == "cut":
                assert request.transport is not None
                request.transport.abort()
                break
            await asyncio.sleep(0.2)
        return response

    started = time.monotonic()
    async with asked(bank, ends_in_s=1.0) as finding:
        elapsed_s = time.monotonic() - started
    assert isinstance(finding, Unanswered)
    expected = "AMK_UNKNOWN_ERROR" if kind in {"redirect", "html"} else "SERVER_UNAVAILABLE"
    assert finding.reason == expected
    assert elapsed_s < 3
