"""`payctl certify`: green on the sandbox, and red on each planted fault.

A plant changes one answer on its way back, as a system with that fault would give it; the
case that looks for it must fail, and its report must say so.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio

from payctl.cases import Case, Outcome
from payctl.certificate import certificate
from payctl.certify import ALL_CASES, chosen, examine, stated
from payctl.examiner import Evidence, Examiner, Exchange, Reply, Request, exchange_over
from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.system import KEY

MERCHANT = "900000000290002"
Change = Callable[[Request, Reply], Reply]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KhqrSystem]:
    folder = tmp_path_factory.mktemp("certify")
    url = f"sqlite+aiosqlite:///{folder / 'test.sqlite'}"
    async with running_khqr_system(tmp_path=folder, database_url=url) as running:
        yield running


def exchanges(
    system: KhqrSystem, session: aiohttp.ClientSession, change: Change | None = None
) -> tuple[Exchange, Exchange]:
    tokens = {
        "bank": KEY.token(sub="amk"),
        "app": KEY.token(sub="app", scopes=["payments:inquire", "khqr:generate"], bank=None),
        "operator": KEY.token(sub="dara", scopes=["operations:read"], bank=None),
    }
    plain = exchange_over(session=session, base_url=system.base_url, tokens=tokens)
    sandbox = exchange_over(session=session, base_url=system.sandbox_url, tokens={})

    async def changed(request: Request) -> Reply:
        reply = await plain(request)
        return reply if change is None else change(request, reply)

    return changed, sandbox


async def outcomes_of(
    system: KhqrSystem, cases: list[Case], change: Change | None = None
) -> list[Outcome]:
    async with aiohttp.ClientSession() as session:
        exchange, sandbox = exchanges(system, session, change)
        return await examine(
            cases=cases,
            exchange=exchange,
            sandbox=sandbox,
            bank="AMK",
            merchant=MERCHANT,
            done=lambda _outcome: None,
        )


def is_notice(request: Request) -> bool:
    return request.method == "POST" and request.path in {"/AMK/payments", "/AMK/khqr"}


def answers(status: int, code: str = "") -> Change:
    """Plant a system that answers every notice with this."""
    body = json.dumps({"success": False, "error": {"code": code, "message": "m", "details": ""}})
    return lambda request, reply: Reply(status=status, body=body) if is_notice(request) else reply


def accepts_everything(request: Request, reply: Reply) -> Reply:
    """Plant a system that refuses no notice."""
    if not is_notice(request) or reply.status == 200:
        return reply
    return Reply(status=200, body='{"success":true,"data":{"status":"CONFIRMED"}}')


def finds_everything(request: Request, reply: Reply) -> Reply:
    """Plant a system that knows every policy."""
    if request.method != "GET" or reply.status != 404:
        return reply
    return Reply(status=200, body='{"success":true,"data":{}}')


def forgets_replays(_request: Request, reply: Reply) -> Reply:
    """Plant a system that does not say that an answer was given before."""
    headers = {name: value for name, value in reply.headers.items() if "replayed" not in name}
    return replace(reply, headers=headers)


def never_settles(request: Request, reply: Reply) -> Reply:
    """Plant a system whose bills stay open."""
    if not request.path.startswith("/AMK/payments/"):
        return reply
    return replace(reply, body=reply.body.replace('"PAID"', '"CLOSED"'))


def hides_exceptions(request: Request, reply: Reply) -> Reply:
    """Plant a system in which second money is lost from sight."""
    if not request.path.startswith("/ops/"):
        return reply
    return Reply(status=200, body='{"success":true,"data":{"exceptions":[]}}')


def gives_no_pause(_request: Request, reply: Reply) -> Reply:
    """Plant a system that does not say when to try again."""
    return replace(reply, headers={})


def confirms_another(request: Request, reply: Reply) -> Reply:
    """Plant a system that confirms another transfer than was told."""
    if not is_notice(request):
        return reply
    return replace(reply, body=reply.body.replace('"transactionId":"', '"transactionId":"X'))


PLANTS: dict[str, Change] = {
    "bill: success": never_settles,
    "bill: not found": finds_everything,
    "bill: nothing due": finds_everything,
    "bill: wrong amount": accepts_everything,
    "bill: wrong currency": accepts_everything,
    "bill: duplicate": forgets_replays,
    "bill: time-out, then retry": answers(409, "PAYMENT_VERIFICATION_DATA_MISMATCHED"),
    "bill: late": accepts_everything,
    "bill: paid twice": accepts_everything,
    "bill: stranger": accepts_everything,
    "khqr: success": never_settles,
    "khqr: not found": accepts_everything,
    "khqr: nothing due": finds_everything,
    "khqr: wrong amount": accepts_everything,
    "khqr: wrong currency": accepts_everything,
    "khqr: not paid": accepts_everything,
    "khqr: duplicate": forgets_replays,
    "khqr: time-out, then retry": confirms_another,
    "khqr: bank away, then back": gives_no_pause,
    "khqr: late": answers(409, "PAYMENT_VERIFICATION_DATA_MISMATCHED"),
    "khqr: paid twice": hides_exceptions,
    "khqr: stranger": accepts_everything,
}


@pytest.mark.asyncio(loop_scope="module")
async def test_every_case_passes_on_the_sandbox_again_and_again(system: KhqrSystem) -> None:
    for _ in range(2):
        outcomes = await outcomes_of(system, list(ALL_CASES))
        assert {one.case.name: one.unlike for one in outcomes if not one.passed} == {}


def test_every_case_has_a_plant() -> None:
    assert set(PLANTS) == {case.name for case in ALL_CASES}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", PLANTS)
async def test_a_planted_fault_makes_its_case_red(
    system: KhqrSystem, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Examiner.until_paid

    async def in_haste(self: Examiner, bill_id: int) -> None:
        await patient(self, bill_id, looks=3, pause_s=0.01)

    monkeypatch.setattr(Examiner, "until_paid", in_haste)
    [outcome] = await outcomes_of(system, chosen([name]), PLANTS[name])
    assert not outcome.passed
    assert outcome.unlike.startswith("expected ")
    assert stated(outcome)["passed"] is False


def _outcome(*, unlike: str = "", answer: str = "{}") -> Outcome:
    return Outcome(
        case=ALL_CASES[0],
        unlike=unlike,
        took_s=0.1,
        evidence=(Evidence(request="GET /x", body="", status=200, answer=answer),),
    )


def _page(*outcomes: Outcome) -> str:
    return certificate(
        outcomes=outcomes,
        at=datetime(2025, 10, 7, 5, tzinfo=UTC),
        base_url="http://127.0.0.1:8080",
        bank="AMK",
    )


def test_a_report_escapes_what_the_other_side_says_and_fetches_nothing() -> None:
    page = _page(_outcome(unlike="<b>no</b>", answer='<script>alert("x")</script>'))
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
    for word in ("src=", "href=", "@import", "url("):
        assert word not in page


def test_a_report_says_first_whether_all_passed() -> None:
    assert "All cases passed." in _page(_outcome())
    assert "1 of 2 cases failed." in _page(_outcome(), _outcome(unlike="expected 200, saw 500"))
    assert "2025-10-07 12:00:00+07:00" in _page(_outcome())
