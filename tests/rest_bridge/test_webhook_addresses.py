"""From where webhooks are taken: methods that the contract calls webhooks, and no others.

| WEBHOOK_ALLOW | TRUSTED_PROXIES | peer, its X-Forwarded-For | a webhook is | an inquiry is |
|---|---|---|---|---|
| empty | | anyone | taken | taken |
| the bank | | a stranger, with any claim | 403, counted, logged, no call | taken |
| the bank | the peer | the bank | taken | taken |
| the bank | the peer | a stranger, nonsense, none | 403 | taken |
"""

import json

import pytest

from rest_bridge.peers import Peers, networks
from tests.rest_bridge.fakes import BEARER, served
from tests.rest_bridge.wire import NOTICE

BANK, STRANGER = "203.0.113.9", "192.0.2.66"
JSON = {**BEARER, "Content-Type": "application/json"}
INQUIRY = "/AMK/payments?query=P123456789"
# WEBHOOK_ALLOW, TRUSTED_PROXIES, headers -> the status of a webhook
ROWS: list[tuple[str, str, dict[str, str], int]] = [
    ("", "", {}, 200),
    ("", "", {"X-Forwarded-For": STRANGER}, 200),
    ("127.0.0.1", "", {}, 200),
    ("::ffff:127.0.0.1", "", {}, 200),
    ("127.0.0.0/8", "", {"X-Forwarded-For": STRANGER}, 200),
    (BANK, "", {}, 403),
    (BANK, "", {"X-Forwarded-For": BANK}, 403),
    (BANK, "", {"Forwarded": f"for={BANK}"}, 403),
    (BANK, "", {"X-Real-IP": BANK, "True-Client-IP": BANK, "CF-Connecting-IP": BANK}, 403),
    (BANK, "10.0.0.0/8", {"X-Forwarded-For": BANK}, 403),
    (BANK, "127.0.0.1", {"X-Forwarded-For": BANK}, 200),
    (BANK, "127.0.0.1", {"X-Forwarded-For": f"{STRANGER}, {BANK}"}, 200),
    (BANK, "127.0.0.1", {"X-Forwarded-For": f"{BANK}, {STRANGER}"}, 403),
    (BANK, "127.0.0.1", {"X-Forwarded-For": f"{BANK}, nonsense"}, 403),
    (BANK, "127.0.0.1", {"Forwarded": f"for={BANK}"}, 403),
    (BANK, "127.0.0.1", {}, 403),
    (f"127.0.0.0/8,{BANK}", "127.0.0.1", {"X-Forwarded-For": "nonsense"}, 403),
]


OPERATIONS = ["/ops/today", "/ops/payments?pageSize=1", "/console", "/console/app.js"]


def peers(*, allow: str, trusted: str) -> Peers:
    return Peers(
        webhook_allow=networks(name="W", text=allow),
        trusted_proxies=networks(name="T", text=trusted),
    )


@pytest.mark.parametrize(("allow", "trusted", "headers", "status"), ROWS)
async def test_a_webhook_is_taken_from_the_list_and_an_inquiry_from_anyone(
    allow: str, trusted: str, headers: dict[str, str], status: int
) -> None:
    async with served(peers=peers(allow=allow, trusted=trusted)) as stage:
        async with stage.client.post(
            stage.url("/AMK/payments"), data=NOTICE % b"ONE", headers=JSON | headers
        ) as response:
            assert response.status == status
            document = json.loads(await response.text())
        refused = int(status == 403)
        assert len(stage.gateway.requests) == 1 - refused
        assert stage.running.counts.values["refused", "address"] == refused
        if refused:
            assert document["error"]["code"] == "FORBIDDEN"
            assert "X-Request-ID" in response.headers
        async with stage.client.get(stage.url(INQUIRY), headers=BEARER | headers) as response:
            assert response.status == 200


async def test_a_refusal_names_the_address_to_the_caller_and_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with (
        served(peers=peers(allow=BANK, trusted="127.0.0.1")) as stage,
        stage.client.post(
            stage.url("/AMK/payments"),
            data=NOTICE % b"ONE",
            headers=JSON | {"X-Forwarded-For": STRANGER},
        ) as response,
    ):
        error = json.loads(await response.text())["error"]
    assert error["details"] == f"Address: {STRANGER}"
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "address_refused" in one]
    assert STRANGER in line
    assert "ConfirmPayment" in line


async def test_a_stranger_is_refused_before_its_body_is_read() -> None:
    async with (
        served(peers=peers(allow=BANK, trusted="")) as stage,
        stage.client.post(
            stage.url("/AMK/payments"), data=b"no JSON", headers={"Content-Type": "x/y"}
        ) as response,
    ):
        assert response.status == 403


async def test_every_method_that_is_called_a_webhook_is_guarded() -> None:
    async with served(peers=peers(allow=BANK, trusted="")) as stage:
        routes = stage.running.bridge.routes
        guarded = {one.method.name for one in routes if one.method.webhook}
        assert guarded == {"ConfirmPayment", "ConfirmKhqrPayment"}
        for route in routes:
            path = route.template.replace("{bank_code}", "AMK").replace("{id}", "1")
            async with stage.client.request(
                route.http_method, stage.url(path.replace("{bankCode}", "AMK"))
            ) as response:
                assert (response.status == 403) is route.method.webhook, path


async def test_a_flood_of_refusals_does_not_flood_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with served(peers=peers(allow=BANK, trusted="")) as stage:
        for _ in range(100):
            async with stage.client.post(stage.url("/AMK/payments")) as response:
                assert response.status == 403
        assert stage.running.counts.values["refused", "address"] == 100
    assert 60 <= capsys.readouterr().out.count("address_refused") < 80


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize(("allow", "is_taken"), [("", True), ("127.0.0.1", True), (BANK, False)])
async def test_operators_are_served_from_their_networks_alone(
    path: str, allow: str, is_taken: bool
) -> None:
    found = Peers(operations_allow=networks(name="O", text=allow))
    async with served(peers=found) as stage:
        async with stage.client.get(stage.url(path), headers=BEARER) as response:
            assert (response.status != 403) is is_taken
        async with stage.client.get(stage.url(INQUIRY), headers=BEARER) as response:
            assert response.status == 200
        async with stage.client.get(stage.url("/docs")) as response:
            assert response.status == 200
