"""The way to others, as `payctl doctor` sees it: connections, certificates, clocks, webhooks."""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from payctl.checks import Verdict, run_check
from payctl.network_checks import (
    Place,
    clock_check,
    connection_checks,
    place_of_url,
    skew_finding,
    webhook_check,
)
from tests.payctl.answering import answering

NOW = datetime(2025, 10, 7, 5, tzinfo=UTC)


async def verdicts(checks: Any) -> dict[str, str]:
    return {check.name: (await run_check(check)).finding.verdict.value for check in checks}


async def test_a_place_where_nobody_listens_is_red_and_one_that_listens_is_green() -> None:
    async with answering(200, "{}") as url:
        here = place_of_url(name="here", url=url)
        nowhere = Place(name="nowhere", host="127.0.0.1", port=1, tls=False)
        assert await verdicts(connection_checks([here, nowhere])) == {
            "reach here": "ok",
            "reach nowhere": "FAILED",
        }


@pytest.mark.parametrize(("trusted", "days"), [(False, 100), (True, 100), (True, 3)])
async def test_a_certificate_must_be_of_somebody_we_trust_and_last(
    monkeypatch: pytest.MonkeyPatch, trusted: bool, days: int
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(
        "127.0.0.1", not_after=datetime.now(tz=UTC) + timedelta(days=days, hours=1)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(server)
    ours = ssl.create_default_context()
    if trusted:
        authority.configure_trust(ours)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ours)
    async with answering(200, "{}", tls=server) as url:
        [checked] = [
            await run_check(check)
            for check in connection_checks([place_of_url(name="bank", url=url)])
        ]
    if trusted and days > 14:
        assert checked.finding.verdict is Verdict.GREEN
        assert f"good for {days} days" in checked.finding.seen
    else:
        assert checked.finding.verdict is Verdict.RED


@pytest.mark.parametrize(
    ("skew_s", "verdict"),
    [
        (0, Verdict.GREEN),
        (5, Verdict.GREEN),
        (-5, Verdict.GREEN),
        (6, Verdict.RED),
        (-6, Verdict.RED),
    ],
)
def test_clocks_may_differ_by_five_seconds(skew_s: int, verdict: Verdict) -> None:
    finding = skew_finding(theirs=NOW, ours=NOW + timedelta(seconds=skew_s))
    assert finding.verdict is verdict


async def test_the_clock_of_another_is_read_from_its_answers() -> None:
    async with answering(200, "{}", date="Tue, 07 Oct 2025 05:00:00 GMT") as url:
        right = clock_check(name="a", url=url, clock=lambda: NOW)
        wrong = clock_check(name="b", url=url, clock=lambda: NOW + timedelta(seconds=10))
        assert await verdicts([right, wrong]) == {"clock of a": "ok", "clock of b": "FAILED"}
    silent = clock_check(name="c", url="http://127.0.0.1:1", clock=lambda: NOW)
    assert await verdicts([silent]) == {"clock of c": "FAILED"}


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (401, '{"success":false,"error":{"code":"UNAUTHORIZED"}}', "ok"),
        (403, '{"success":false,"error":{"code":"FORBIDDEN"}}', "ok"),
        (401, "<html>", "FAILED"),
        (200, "{}", "FAILED"),
        (404, '{"success":false,"error":{"code":"BAD_REQUEST"}}', "FAILED"),
    ],
)
async def test_only_our_own_refusal_of_a_stranger_is_our_webhook(
    status: int, body: str, verdict: str
) -> None:
    async with answering(status, body) as url:
        check = webhook_check(url=url, path="/AMK/payments")
        assert await verdicts([check]) == {"webhook from outside": verdict}
