"""A bank and an insurer whose every answer quotes something that must not be repeated."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle

from aiohttp import web

from tests.support.canaries import Canaries

DUE = "P123456789"
ODD_POLICIES = ("BADJSON001", "BADCURR001", "BADPOLIC01", "ERR5000001", "CONTROL001")


@dataclass(kw_only=True)
class Talkative:
    """The two partners on one address; `asked` counts what they were asked."""

    canaries: Canaries
    base_url: str = ""
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Line up the answers, each of which comes again and again."""
        self._turns: dict[str, Iterator[tuple[int, str]]] = {
            "sign-in": cycle(self._sign_ins()),
            "generator": cycle(self._codes()),
            "verify": cycle(self._verifications()),
        }

    def _sign_ins(self) -> list[tuple[int, str]]:
        fed = self.canaries
        good = {"access_token": fed("bank-token"), "token_type": "Bearer", "expires_in": 3600}
        return [
            (401, fed("sign-in-401")),
            (200, f'{{"access_token": "{fed("sign-in-broken")}'),
            (200, json.dumps(good | {"expires_in": -1, "access_token": fed("sign-in-expired")})),
            (500, fed("sign-in-500")),
            (200, json.dumps(good)),
        ]

    def _codes(self) -> list[tuple[int, str]]:
        fed = self.canaries
        return [
            (200, json.dumps({"qrString": fed("qr-string")})),
            (200, json.dumps({"qrCode": fed("qr-code")})),
            (200, f'{{"qrString": {fed("qr-broken")}'),
            (200, fed("qr-image")),
            (400, fed("qr-400")),
            (503, fed("qr-503")),
        ]

    def _verifications(self) -> list[tuple[int, str]]:
        fed = self.canaries
        data = {"txId": fed("verify-tx"), "merchantId": fed("verify-merchant"), "status": "SUCCESS"}
        return [
            (200, json.dumps({"code": fed("verify-code"), "message": fed("verify-message")})),
            (200, json.dumps({"code": "00", "data": data | {"status": fed("verify-status")}})),
            (200, json.dumps({"code": "00", "data": data | {"amount": fed("verify-amount")}})),
            (200, f'{{"code": {fed("verify-broken")}'),
            (403, fed("verify-403")),
        ]

    async def look_up(self, request: web.Request) -> web.Response:
        """Answer as the insurer."""
        fed = self.canaries
        number = request.match_info["number"]
        self.asked.append(number)
        premium = {
            "policyNumber": number,
            "payer": f"{fed('payer')} {fed.khmer('payer-khmer')}",
            "amount": 150,
            "currency": "USD",
            "dueDate": "2025-11-15",
        }
        bodies = {
            "BADJSON001": f'{{"policyNumber": "{fed("premium-broken")}',
            "BADCURR001": json.dumps(premium | {"currency": fed("premium-currency")}),
            "BADPOLIC01": json.dumps(premium | {"policyNumber": f"{fed('premium-policy')} x"}),
            "CONTROL001": json.dumps(premium | {"payer": f"{fed('premium-payer')}\x1b"}),
            DUE: json.dumps(premium, ensure_ascii=False),
        }
        status = {"ERR5000001": 500}.get(number, 200 if number in bodies else 404)
        return web.Response(
            status=status,
            text=bodies.get(number, fed("premium-error")),
            headers={"X-Told": fed("premium-header")},
        )

    def turn(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what answers as the bank, in turn."""

        async def answer(request: web.Request) -> web.Response:
            await request.read()
            self.asked.append(name)
            status, text = next(self._turns[name])
            return web.Response(
                status=status, text=text, headers={"Set-Cookie": self.canaries("bank-cookie")}
            )

        return answer


@asynccontextmanager
async def talkative(*, canaries: Canaries) -> AsyncIterator[Talkative]:
    """Serve both partners on a free port."""
    partner = Talkative(canaries=canaries)
    app = web.Application()
    app.router.add_get("/policies/{number}/premium", partner.look_up)
    app.router.add_post("/auth/sign-in", partner.turn("sign-in"))
    app.router.add_post("/qr/generator", partner.turn("generator"))
    app.router.add_post("/verify", partner.turn("verify"))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    partner.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield partner
    finally:
        await runner.cleanup()
