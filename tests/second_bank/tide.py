"""Tide, a bank that nobody has: its own words, hash and login. It shares no code with adapters."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.khqr_svc.codes import DYNAMIC, written

SHOP = "SHOP-77"
USERNAME, PASSWORD, HASH_KEY = "insurer-at-tide", "dummy-tide-password", "dummy-tide-hash-key"
_CURRENCIES = {"USD": "840", "KHR": "116"}
_LIFE_MS = 20 * 60 * 1000


@dataclass(kw_only=True)
class Tide:
    """The bank: its orders by number, and what it was asked."""

    base_url: str = ""
    orders: dict[str, dict[str, str]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def place(self, request: web.Request) -> web.Response:
        """Take an order; answer with the text of a code that asks for it."""
        self.asked.append("orders")
        login = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {login}":
            return web.json_response({"problem": "who is it?"}, status=401)
        order = await request.json()
        total = order["total"]
        self.orders[order["order"]] = total
        now_ms = time.time_ns() // 1_000_000
        text = written(
            DYNAMIC,
            {
                "30": {"00": "insurer@tide", "01": order["shop"], "02": "Tide"},
                "53": _CURRENCIES[total["unit"]],
                "54": total["value"],
                "62": {"01": order["order"]},
                "99": {"00": str(now_ms), "01": str(now_ms + _LIFE_MS)},
            },
        )
        return web.json_response({"khqr": text})

    async def status(self, request: web.Request) -> web.Response:
        """Answer what became of an order."""
        self.asked.append("status")
        body = await request.read()
        expected = hmac.digest(HASH_KEY.encode(), body, hashlib.sha256).hex()
        if not hmac.compare_digest(request.headers.get("X-Tide-Hash", ""), expected):
            return web.json_response({"problem": "the hash is wrong"}, status=403)
        order = json.loads(body)["order"]
        answer: dict[str, Any] = {"order": order, "shop": SHOP, "state": "UNKNOWN"}
        if order in self.orders:
            answer["state"] = "NEW"
        if order in self.settled:
            answer |= {
                "state": "SETTLED",
                "reference": f"TIDE-{order}-1",
                "total": self.orders[order],
                "settled_at": "2026-11-26T12:00:00+07:00",
            }
        return web.json_response(answer)


@asynccontextmanager
async def running_tide() -> AsyncIterator[Tide]:
    """Serve the bank on a free port."""
    tide = Tide()
    app = web.Application()
    app.router.add_post("/orders", tide.place)
    app.router.add_post("/orders/status", tide.status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tide.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield tide
    finally:
        await runner.cleanup()
