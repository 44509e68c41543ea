"""A world without a network or a clock on the wall: the other side follows a script."""

from collections.abc import Callable
from dataclasses import dataclass, field

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.resilience import (
    Outcome,
    Patience,
    RetryBudget,
    RetryingSend,
    server_failed,
)

ATTEMPT_S, SLOW_S = 2.0, 1.5
REFUSED = ExchangeFailed(why="refused", sent=False)
CUT = ExchangeFailed(why="cut", sent=True)


def answered(status: int) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=b"")


@dataclass
class World:
    """A clock that moves only by sleeping and by exchanges, and the other side's script."""

    script: list[tuple[float, Outcome]] = field(default_factory=list)  # seconds taken, outcome
    now: float = 1000.0
    slept: list[float] = field(default_factory=list)
    sent: list[HttpRequest] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        takes_s, outcome = self.script.pop(0)
        if takes_s > request.timeout_s:
            self.now += request.timeout_s
            raise ExchangeFailed(why="no answer in time", sent=True)
        self.now += takes_s
        if isinstance(outcome, ExchangeFailed):
            raise outcome
        return outcome

    def request(self) -> HttpRequest:
        number = f"{len(self.sent) + 1}"
        return HttpRequest(method="POST", url="http://x/", timeout_s=60, headers={"n": number})


def quick(*outcomes: Outcome) -> list[tuple[float, Outcome]]:
    return [(0.1, outcome) for outcome in outcomes]


def retrying(
    world: World,
    *,
    attempts: int = 3,
    send: Send | None = None,
    budget: RetryBudget | None = None,
    random: Callable[[], float] = lambda: 1.0,
) -> RetryingSend:
    return RetryingSend(
        send=send or world.send,
        patience=Patience(attempts=attempts, attempt_s=ATTEMPT_S),
        budget=budget or RetryBudget(clock=world.clock),
        clock=world.clock,
        sleep=world.sleep,
        random=random,
    )


async def outcome_of(
    sending: RetryingSend,
    world: World,
    *,
    within_s: float = 5.0,
    may_repeat: Callable[[Outcome], bool] = server_failed,
) -> Outcome:
    try:
        return await sending.exchange(
            make_request=world.request, may_repeat=may_repeat, deadline=world.now + within_s
        )
    except ExchangeFailed as problem:
        return problem
