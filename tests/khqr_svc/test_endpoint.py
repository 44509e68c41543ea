"""One address of a bank: what is asked twice, what is not, and how it fails.

| outcome                         | sign-in attempts | QR attempts | then            |
|---------------------------------|------------------|-------------|-----------------|
| the connection never opened     | 2                | 2           | BankUnavailable |
| sent, and no answer             | 2                | 1           | BankUnavailable |
| 500                             | 2                | 1           | BankUnavailable |
| 429                             | 1                | 1           | BankUnavailable |
| 404                             | 1                | 1           | the answer      |
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse
from chassis.resilience import Outcome, never_sent, server_failed
from chassis.secrets import SecretReference
from chassis.single_flight import SingleFlight
from khqr_svc.banks.amk_sign_in import AmkSignIn
from khqr_svc.banks.endpoint import Endpoint, Surroundings
from khqr_svc.banks.port import BankUnavailable, OutOfTime
from khqr_svc.joining import joined

NEVER_SENT = ExchangeFailed(why="refused", sent=False)
SENT = ExchangeFailed(why="no answer in time", sent=True)


@dataclass
class Wire:
    """A network whose every exchange has one outcome and takes a while of a hand-moved clock."""

    outcome: Outcome
    takes_s: float = 0.0
    now_s: float = 100.0
    sent: list[HttpRequest] = field(default_factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        self.now_s += min(self.takes_s, request.timeout_s)
        if isinstance(self.outcome, ExchangeFailed):
            raise self.outcome
        return self.outcome

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def endpoint(self, may_repeat: Callable[[Outcome], bool]) -> Endpoint:
        around = Surroundings(
            send=self.send, clock=lambda: self.now_s, sleep=self.sleep, random=lambda: 0.5
        )
        return Endpoint(
            bank_code="AMK",
            name="x",
            url="http://bank.example/x",
            around=around,
            may_repeat=may_repeat,
        )


def answered(status: int) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=b"")


def post(
    wire: Wire, may_repeat: Callable[[Outcome], bool], *, within_s: float = 5.0
) -> Awaitable[HttpResponse]:
    endpoint = wire.endpoint(may_repeat)
    return endpoint.post(body=b"{}", headers={"X": "1"}, deadline=wire.now_s + within_s)


@pytest.mark.parametrize(
    ("outcome", "sign_ins", "qrs"),
    [
        (NEVER_SENT, 2, 2),
        (SENT, 2, 1),
        (answered(500), 2, 1),
        (answered(503), 2, 1),
        (answered(429), 1, 1),
        (answered(408), 1, 1),
    ],
)
async def test_a_failure_is_repeated_only_where_it_is_harmless(
    outcome: Outcome, sign_ins: int, qrs: int
) -> None:
    for may_repeat, attempts in ((server_failed, sign_ins), (never_sent, qrs)):
        wire = Wire(outcome)
        with pytest.raises(BankUnavailable) as caught:
            await post(wire, may_repeat)
        assert not isinstance(caught.value, OutOfTime)
        assert len(wire.sent) == attempts


async def test_a_late_refusal_of_an_old_token_does_not_cost_the_new_one() -> None:
    wire = Wire(HttpResponse(status=200, headers={}, body=b""))
    known = SecretReference(name="known", file=None, value="dummy")
    sign_in = AmkSignIn(
        endpoint=wire.endpoint(server_failed),
        username=known,
        password=known,
        clock=lambda: wire.now_s,
    )

    async def token(text: str) -> str:
        body = b'{"access_token":"%s","expires_in":3600}' % text.encode()
        wire.outcome = HttpResponse(status=200, headers={}, body=body)
        return await sign_in.token(deadline=wire.now_s + 5)

    assert await token("old") == "old"
    sign_in.forget(token="old")
    assert await token("new") == "new"
    sign_in.forget(token="old")
    assert await token("newer") == "new"
    assert len(wire.sent) == 2


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 404])
async def test_any_other_answer_is_given_as_it_is(status: int) -> None:
    wire = Wire(answered(status))
    assert (await post(wire, server_failed)).status == status
    (request,) = wire.sent
    assert request.headers == {"Content-Type": "application/json", "X": "1"}
    assert (request.method, request.body, request.timeout_s) == ("POST", b"{}", 2.0)


@pytest.mark.parametrize(("within_s", "timeouts"), [(5.0, [2.0, 2.0]), (1.5, [1.5]), (0.01, [])])
async def test_attempts_fit_into_what_is_left(within_s: float, timeouts: list[float]) -> None:
    wire = Wire(SENT, takes_s=10)
    with pytest.raises(BankUnavailable) as caught:
        await post(wire, server_failed, within_s=within_s)
    assert [request.timeout_s for request in wire.sent] == timeouts
    assert isinstance(caught.value, OutOfTime) is (within_s < 2)


async def test_one_that_joins_with_more_time_begins_anew_and_one_with_less_does_not() -> None:
    flights: SingleFlight[str, float] = SingleFlight()
    loop = asyncio.get_running_loop()
    began: list[float] = []

    async def call(deadline: float) -> float:
        began.append(deadline)
        if len(began) == 1:
            await asyncio.Event().wait()
        return deadline

    now_s = loop.time()

    def join(deadline: float) -> Awaitable[float]:
        return joined(
            flights=flights, key="bill", call_until=call, deadline=deadline, clock=loop.time
        )

    first, sooner, later = now_s + 0.1, now_s + 0.05, now_s + 5
    answers = await asyncio.gather(join(first), join(sooner), join(later), return_exceptions=True)
    assert [isinstance(one, OutOfTime) for one in answers] == [True, True, False]
    assert answers[2] == later
    assert began == [first, later]
