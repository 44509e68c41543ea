"""What the bank can do wrong, and what the customer gets.

| the bank                                    | asked again         | answer             |
|---------------------------------------------|---------------------|--------------------|
| refuses the connection                      | yes                 | SERVER_UNAVAILABLE |
| hangs, cuts, 5xx, 429 at the generator      | no                  | SERVER_UNAVAILABLE |
| the same at the sign-in                     | once                | SERVER_UNAVAILABLE |
| answers HTML, nothing, JSON without a code  | no                  | AMK_UNKNOWN_ERROR  |
| refuses the login, or every token           | one sign-in more    | AMK_UNKNOWN_ERROR  |
| revokes the token                           | one sign-in more    | a code             |
| is down while a live code is there          |                     | the live code      |
"""

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from chassis.errors import ServiceError
from tests.khqr_svc.fakes import Behaviour, answer, code_text, cut, hang
from tests.khqr_svc.stage import Stage, running_stage

MANY = 20
HTML = answer(200, b"<html>busy</html>", "text/html")
DOWN: dict[str, Behaviour] = {
    "cuts": cut,
    "500": answer(500, b"oops"),
    "503": answer(503),
    "429": answer(429),
    "408": answer(408),
}
UNREADABLE: dict[str, Behaviour] = {
    "HTML": HTML,
    "nothing": answer(200),
    "no content": answer(204),
    "a redirect": answer(302),
    "400": answer(400, b'{"message":"no"}'),
    "403": answer(403),
    "404": answer(404),
    "an array": answer(200, b"[]"),
    "half JSON": answer(200, b'{"qrCode":'),
    "an empty object": answer(200, b"{}"),
    "nulls": answer(200, b'{"qrCode":null,"qrString":null}'),
    "a number": answer(200, b'{"qrCode":1}'),
    "no base64": answer(200, b'{"qrCode":"%%%"}'),
    "base64 of no picture": answer(200, b'{"qrCode":"AAAA"}'),
    "a business error": answer(200, b'{"code":"96","message":"system error"}'),
    "a text too long to draw": answer(200, b'{"qrString":"' + b"0" * 9000 + b'"}'),
    "a lone surrogate": answer(200, b'{"qrString":"\\ud800"}'),
}
BAD_TOKENS: dict[str, Behaviour] = {
    "HTML": HTML,
    "nothing": answer(200),
    "401": answer(401),
    "403": answer(403),
    "no token": answer(200, b'{"expires_in":3600}'),
    "an empty token": answer(200, b'{"access_token":"","expires_in":3600}'),
    "a token with a line break": answer(200, b'{"access_token":"a\\nb","expires_in":3600}'),
    "no lifetime": answer(200, b'{"access_token":"a"}'),
    "no life": answer(200, b'{"access_token":"a","expires_in":0}'),
    "another type": answer(200, b'{"access_token":"a","token_type":"MAC","expires_in":9}'),
}


async def failure(stage: Stage, **call: object) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await stage.generate(**call)  # type: ignore[arg-type]  # whatever generate() takes
    return caught.value


@pytest.mark.parametrize("name", DOWN)
async def test_a_generator_that_is_down_is_asked_once_and_means_come_back(
    stage: Stage, name: str
) -> None:
    stage.bank.on_qr = DOWN[name]
    error = await failure(stage)
    assert (error.reason, len(stage.bank.asked)) == ("SERVER_UNAVAILABLE", 1)
    assert error.retry_after_s
    assert stage.gateway.count("RecordKhqr") == 0


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_answer_is_an_unknown_error(stage: Stage, name: str) -> None:
    stage.bank.on_qr = UNREADABLE[name]
    error = await failure(stage)
    assert (error.reason, len(stage.bank.asked)) == ("AMK_UNKNOWN_ERROR", 1)
    assert error.details == "Bank: AMK"


@pytest.mark.parametrize("name", DOWN)
async def test_a_sign_in_that_is_down_is_asked_once_more(stage: Stage, name: str) -> None:
    stage.bank.on_sign_in = DOWN[name]
    error = await failure(stage)
    attempts = 1 if name in {"429", "408"} else 2
    assert (error.reason, len(stage.bank.sign_ins)) == ("SERVER_UNAVAILABLE", attempts)
    assert stage.bank.asked == []


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_sign_in_without_a_usable_token_is_an_unknown_error(
    stage: Stage, name: str
) -> None:
    stage.bank.on_sign_in = BAD_TOKENS[name]
    assert await stage.reason() == "AMK_UNKNOWN_ERROR"
    assert stage.bank.asked == []


async def test_an_answer_without_an_end_is_not_read_to_its_end(stage: Stage) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"0" * 65536)

    stage.bank.on_qr = endless
    assert await stage.reason() == "SERVER_UNAVAILABLE"


async def test_nobody_listening_is_tried_again_and_means_come_back(
    tmp_path_factory: pytest.TempPathFactory, unused_tcp_port: int
) -> None:
    environ = {"AMK_BASE_URL": f"http://127.0.0.1:{unused_tcp_port}"}
    folder = tmp_path_factory.mktemp("nobody")
    async with running_stage(tmp_path=folder, environ=environ) as stage:
        assert await stage.reason() == "SERVER_UNAVAILABLE"


@pytest.mark.parametrize("bills", [1, MANY])
async def test_a_revoked_token_costs_one_more_sign_in_and_no_error(
    stage: Stage, bills: int
) -> None:
    await stage.generate()
    stage.bank.tokens.clear()
    numbers = [f"P{index}" for index in range(bills)]
    stage.gateway.premiums = {
        number: (150002 + index, "150.00", "USD") for index, number in enumerate(numbers)
    }
    found = await asyncio.gather(*(stage.generate(number=number) for number in numbers))
    assert all(response.qr_code for response in found)
    assert len(stage.bank.sign_ins) == 2


async def test_a_bank_that_refuses_every_token_is_asked_twice_and_no_more(stage: Stage) -> None:
    stage.bank.on_qr = answer(401)
    assert await stage.reason() == "AMK_UNKNOWN_ERROR"
    assert (len(stage.bank.sign_ins), len(stage.bank.asked)) == (2, 2)


@pytest.mark.parametrize(
    ("lasts_s", "after_s", "sign_ins"),
    [(3600, 3530, 1), (3600, 3541, 2), ("3600", 3530, 1), (60, 25, 1), (60, 31, 2)],
)
async def test_a_token_is_renewed_a_minute_before_its_end(
    stage: Stage, lasts_s: object, after_s: float, sign_ins: int
) -> None:
    stage.bank.lasts_s = lasts_s
    await stage.generate()
    stage.gateway.live.clear()
    stage.clock.ahead_s = after_s
    await stage.generate()
    assert (len(stage.bank.sign_ins), len(stage.bank.asked)) == (sign_ins, 2)


async def test_a_replaced_password_is_used_at_the_next_sign_in(stage: Stage) -> None:
    await stage.generate()
    stage.gateway.live.clear()
    (stage.var_dir / "amk-password").write_text("another-pass-phrase", encoding="utf-8")
    stage.bank.tokens.clear()
    await stage.generate()
    assert stage.bank.sign_ins[-1]["password"] == "another-pass-phrase"


@pytest.mark.parametrize(
    ("left", "handed_out"),
    [
        (timedelta(minutes=4, seconds=59), True),
        (timedelta(seconds=1), True),
        (timedelta(0), False),
        (timedelta(seconds=-1), False),
    ],
)
async def test_while_the_generator_is_down_a_live_code_will_do(
    stage: Stage, left: timedelta, handed_out: bool
) -> None:
    live = stage.gateway.keep(text=code_text(), left=left)
    stage.bank.on_qr = DOWN["503"]
    if handed_out:
        assert (await stage.generate()).qr_code == live.image
    else:
        assert await stage.reason() == "SERVER_UNAVAILABLE"
    assert stage.gateway.count("RecordKhqr") == 0


async def test_a_generator_that_hangs_leaves_time_for_the_live_code(stage: Stage) -> None:
    live = stage.gateway.keep(text=code_text(), left=timedelta(minutes=4))
    stage.bank.on_qr = hang
    assert (await stage.generate(timeout_s=1.0)).qr_code == live.image


async def test_a_bank_that_keeps_failing_is_left_alone_for_a_while(stage: Stage) -> None:
    stage.bank.on_qr = DOWN["500"]
    for _ in range(12):
        assert await stage.reason() == "SERVER_UNAVAILABLE"
    assert len(stage.bank.asked) == 10
    stage.bank.on_qr = None
    error = await failure(stage)
    assert (error.reason, len(stage.bank.asked)) == ("SERVER_UNAVAILABLE", 10)
    assert error.retry_after_s is not None
    assert 10 < error.retry_after_s <= 15
    stage.clock.ahead_s = 15
    assert (await stage.generate()).qr_code
