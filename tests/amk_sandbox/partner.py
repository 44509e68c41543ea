"""The insurer as the bank's partner: signs in, asks for codes, asks what became of them.

Written from the specification alone; nothing of the sandbox is used to read its answers.
"""

import base64
import binascii
import hashlib
import hmac
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import zxingcpp
from PIL import Image

from tests.amk_sandbox.harness import Client, Clock

VERIFY = "/amkpayway/v1/api/payment/payment-verify"
MERCHANT = {
    "merchantId": "900000000290002",
    "storeId": "800000000270001",
    "terminalId": "70000002",
}


@dataclass
class Answer:
    """An answer of the bank."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_float=str)


@dataclass
class Partner:
    """Speaks to the bank's API with the credentials that the sandbox made."""

    client: Client
    clock: Clock
    keys: Path
    timeout_s: float = 5
    token: str = field(default="", init=False)

    def secret(self, name: str) -> str:
        return (self.keys / name).read_text().strip()

    async def ask(self, path: str, data: bytes, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.session.post(
            self.client.base + path,
            data=data,
            headers=named,
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
        ) as response:
            return Answer(response.status, response.content_type, await response.read())

    async def sign_in(self, **other: str) -> Answer:
        given = {
            "username": self.secret("amk-username"),
            "password": self.secret("amk-password"),
            **other,
        }
        answer = await self.ask("/auth/sign-in", json.dumps(given).encode())
        if answer.status == 200:
            self.token = answer.json["access_token"]
        return answer

    async def generate(self, bill: str = "150001", amount: str = "150.00", **other: str) -> Answer:
        if not self.token:
            await self.sign_in()
        question = {
            "merchantId": MERCHANT["merchantId"],
            "currency": "USD",
            "billNumber": bill,
            "payer": "John Doe",
            **other,
        }
        text = json.dumps(question)[:-1] + f', "amount": {amount}}}'
        return await self.ask("/qr/generator", text.encode(), Authorization=f"Bearer {self.token}")

    def signed(self, tx_id: str = "150001", **other: str) -> dict[str, str]:
        timestamp = str(int(self.clock.now.timestamp() * 1000))
        form = {**MERCHANT, "txId": tx_id, "timestamp": timestamp, **other}
        text = "".join(form[name] for name in (*MERCHANT, "txId", "timestamp"))
        digest = hmac.new(self.secret("amk-hmac-key").encode(), text.encode(), hashlib.sha512)
        return {**form, "hash": base64.b64encode(digest.digest()).decode()}

    async def verify(self, form: dict[str, str]) -> Answer:
        return await self.ask(
            VERIFY,
            urlencode(form).encode(),
            Content_Type="application/x-www-form-urlencoded",
        )

    async def show(self, query: str) -> tuple[int, str]:
        """Answer `GET /khqr` as the insurer would; the bill is 150001, the payer by policy."""
        answer = await self.generate(payer=f"Payer of {query}")
        code = {"paymentId": 150001, "policyId": query, "qrCode": answer.json["qrCode"]}
        return 200, json.dumps({"success": True, "data": code})


def tags(text: str) -> dict[str, str]:
    """Return the objects of a code or template, read one by one."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        tag, length = text[at : at + 2], int(text[at + 2 : at + 4])
        assert tag not in found
        found[tag] = text[at + 4 : at + 4 + length]
        assert len(found[tag]) == length
        at += 4 + length
    return found


def crc_is_right(text: str) -> bool:
    # The standard library's CRC-CCITT, started at FFFF, is CRC-16/CCITT-FALSE.
    return text[-4:] == f"{binascii.crc_hqx(text[:-4].encode(), 0xFFFF):04X}"


def scanned(image: bytes) -> str:
    """Return what a reader sees in an image."""
    found = zxingcpp.read_barcode(Image.open(io.BytesIO(image)))
    assert found is not None
    return str(found.text)


def image_of(answer: Answer) -> bytes:
    """Return the image in an answer of the generator."""
    return base64.b64decode(answer.json["qrCode"], validate=True)
