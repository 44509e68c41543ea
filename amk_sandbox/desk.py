"""Codes, their webhooks, tokens and faults, for operators and the phone.

- `POST /sandbox/khqr?query=P123456789`: show a code, as the insurer's app does
- `GET /sandbox/khqr/{bill}/image`: the image that the insurer showed; else the bank's own
- `POST /sandbox/khqr/{bill}/pay`: scan the bill's code and pay it; `?again=true` once more
  (both: `?code={id}` for one before the latest)
- `POST /sandbox/khqr/pay?query=P123456789`: show and pay in one
- `POST /sandbox/notices/{id}/resend`: send that webhook once more, byte for byte
- `POST /sandbox/faults/{code}/on`, `{"times": 3}` or until `/off`; `POST /sandbox/faults/off`
- `POST /sandbox/tokens/revoke`: no token is good any more
"""

import re

from aiohttp import web

from amk_sandbox.bank_api import BankParts
from amk_sandbox.edge import flag_of, json_answer, optional_count, query_of
from amk_sandbox.faults import MOST_TIMES
from amk_sandbox.notices import Notices
from amk_sandbox.qr_image import draw_png
from amk_sandbox.scanning import Scan, Scanning
from amk_sandbox.store import Store
from amk_sandbox.transfers import SentBy
from amk_sandbox.views import code_view, fault_views, notice_view, transfer_view

_BILL = "{bill:[0-9]{1,18}}"


class Desk:
    """The operators' side of codes and faults."""

    def __init__(
        self, *, parts: BankParts, scanning: Scanning, notices: Notices, store: Store
    ) -> None:
        self._parts = parts
        self._scanning = scanning
        self._notices = notices
        self._store = store

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/sandbox/khqr", self.show),
            web.post("/sandbox/khqr/pay", self.show_and_pay),
            web.get(f"/sandbox/khqr/{_BILL}/image", self.image),
            web.post(f"/sandbox/khqr/{_BILL}/pay", self.pay),
            web.post("/sandbox/notices/{id:[0-9]{1,18}}/resend", self.resend),
            web.get("/sandbox/faults", self.list_faults),
            web.post("/sandbox/faults/off", self.switch_all_off),
            web.post("/sandbox/faults/{code}/on", self.switch_on),
            web.post("/sandbox/faults/{code}/off", self.switch_off),
            web.post("/sandbox/tokens/revoke", self.revoke),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show a code on the phone."""
        code = await self._scanning.show(query=query_of(request))
        return json_answer({"code": code_view(code=code, codes=self._parts.codes)})

    async def show_and_pay(self, request: web.Request) -> web.Response:
        """Show a code, scan it and pay it."""
        code = await self._scanning.show(query=query_of(request))
        return self._scan_answer(
            await self._scanning.pay(
                bill_id=code.bill_id, code_id=code.id, again=flag_of(request, "again")
            )
        )

    async def pay(self, request: web.Request) -> web.Response:
        """Scan a code and pay it."""
        bill_id = int(request.match_info["bill"])
        return self._scan_answer(
            await self._scanning.pay(
                bill_id=bill_id, code_id=_code_id(request), again=flag_of(request, "again")
            )
        )

    async def image(self, request: web.Request) -> web.Response:
        """Answer with the image of a bill's code."""
        codes = self._parts.codes
        code = codes.of_bill(bill_id=int(request.match_info["bill"]), code_id=_code_id(request))
        image = codes.shown_image(code=code) or draw_png(text=code.payload)
        return web.Response(body=image, content_type="image/png")

    async def resend(self, request: web.Request) -> web.Response:
        """Send a webhook once more."""
        number = int(request.match_info["id"])
        notice = await self._notices.send(number=number, by=SentBy.OPERATOR)
        return json_answer({"notice": notice_view(notice=notice, store=self._store)})

    async def list_faults(self, _: web.Request) -> web.Response:
        """Answer with the table of faults, and what is on."""
        return json_answer({"faults": fault_views(faults=self._parts.faults)})

    async def switch_on(self, request: web.Request) -> web.Response:
        """Switch a fault on."""
        times = await optional_count(request, "times", most=MOST_TIMES)
        self._parts.faults.switch_on(code=request.match_info["code"], times=times)
        return await self.list_faults(request)

    async def switch_off(self, request: web.Request) -> web.Response:
        """Switch a fault off."""
        self._parts.faults.switch_off(code=request.match_info["code"])
        return await self.list_faults(request)

    async def switch_all_off(self, request: web.Request) -> web.Response:
        """Switch everything off."""
        self._parts.faults.switch_all_off()
        return await self.list_faults(request)

    async def revoke(self, _: web.Request) -> web.Response:
        """Revoke all tokens."""
        return json_answer({"revoked": self._parts.tokens.revoke_all()})

    def _scan_answer(self, scan: Scan) -> web.Response:
        return json_answer(
            {
                "code": code_view(code=scan.code, codes=self._parts.codes),
                "transfers": [transfer_view(transfer=t, store=self._store) for t in scan.transfers],
                "notices": [notice_view(notice=n, store=self._store) for n in scan.notices],
            }
        )


def _code_id(request: web.Request) -> int | None:
    text = request.query.get("code", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
