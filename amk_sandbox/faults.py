"""Everything that can go wrong at the bank, in one table: page, documents and tests read it.

A fault is switched on by an operator, for a number of calls or until it is switched off,
one at each point; or it is chosen by its own policy, and then concerns that policy's
bills alone. The bank is not told the policy's number, so it knows such a bill by the
payer's name, which is `Fault` and the fault's code.
"""

from dataclasses import dataclass
from enum import Enum

from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store

MOST_TIMES = 10_000


class Point(Enum):
    """Where a fault strikes."""

    SIGN_IN = "sign-in"
    GENERATOR = "generator"
    VERIFY = "verify"
    WEBHOOK = "webhook"


class Effect(Enum):
    """What goes wrong; the words are the table's."""

    SILENT = "timeout"
    TRICKLE = "trickle"
    REFUSED = "refused"
    SLOW = "slow"
    ERROR = "500"
    HTML = "html"
    DENIED = "401"
    PENDING = "pending"
    UNKNOWN = "unknown"
    OTHER_AMOUNT = "other-amount"
    OTHER_CURRENCY = "other-currency"
    OTHER_MERCHANT = "other-merchant"
    WRONG_AMOUNT = "wrong-amount"
    WRONG_CRC = "wrong-crc"
    NOT_AN_IMAGE = "not-an-image"
    IMAGE_ONLY = "image-only"
    TEXT_ONLY = "text-only"
    FIVE = "five"
    LATE = "late"
    NEVER = "never"
    FORGED = "forged"
    MICROSECONDS = "microseconds"
    FAILED_FIRST = "failed-then-success"
    PAID_TWICE = "paid-twice"
    NO_TRANSFER = "no-transfer"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table."""

    point: Point
    effect: Effect
    words: str
    policy: str | None = None  # the policy whose bills meet it; None: by switch alone
    times: int | None = None  # for one bill of that policy: so often, then no more
    when_paid: bool = False  # strikes only where there is a transfer

    @property
    def code(self) -> str:
        """The fault's name, such as `verify-timeout`."""
        return f"{self.point.value}-{self.effect.value}"

    @property
    def payer(self) -> str:
        """The payer's name on its own policy."""
        return f"Fault {self.code}"


_S, _G, _V, _W = Point.SIGN_IN, Point.GENERATOR, Point.VERIFY, Point.WEBHOOK
_E = Effect

# fmt: off
_ROWS: tuple[tuple[Point, Effect, str | None, str], ...] = (
    (_V, _E.SILENT, "P900000001", "Verify never answers"),
    (_V, _E.TRICKLE, "P900000002", "Verify answers byte by byte, for minutes"),
    (_V, _E.ERROR, "P900000003", "Verify answers 500"),
    (_V, _E.HTML, "P900000004", "Verify answers 200 with an HTML page"),
    (_V, _E.PENDING, "P900000005", "Verify says PENDING twice, then paid"),
    (_V, _E.UNKNOWN, "P900000006", "Verify does not know it yet, twice, then paid"),
    (_V, _E.OTHER_AMOUNT, "P900000007", "Verify names another amount"),
    (_V, _E.OTHER_CURRENCY, "P900000008", "Verify names another currency"),
    (_V, _E.OTHER_MERCHANT, "P900000009", "Verify names another merchant"),
    (_G, _E.ERROR, "P900000011", "The generator answers 500"),
    (_G, _E.REFUSED, "P900000012", "The generator cuts the connection"),
    (_G, _E.SLOW, "P900000013", "The generator answers after 3 s"),
    (_G, _E.WRONG_AMOUNT, "P900000014", "The code asks for another amount"),
    (_G, _E.WRONG_CRC, "P900000015", "The code's CRC is wrong"),
    (_G, _E.NOT_AN_IMAGE, "P900000016", "The image is no image"),
    (_G, _E.HTML, "P900000017", "The generator answers 200 with an HTML page"),
    (_G, _E.DENIED, "P900000018", "All tokens are revoked once: 401 until one signs in again"),
    (_G, _E.IMAGE_ONLY, "P900000019", "The code comes as a bare PNG (no fault: another form)"),
    (_G, _E.TEXT_ONLY, "P900000020", "The code comes as text alone (no fault: another form)"),
    (_W, _E.FIVE, "P900000021", "The webhook comes five times at once"),
    (_W, _E.LATE, "P900000022", "The webhook comes 3 s late"),
    (_W, _E.NEVER, "P900000023", "The webhook never comes"),
    (_W, _E.FORGED, "P900000024", "The webhook comes with a token nobody gave"),
    (_W, _E.MICROSECONDS, "P900000025", "The webhook comes again with other microseconds"),
    (_W, _E.WRONG_AMOUNT, "P900000026", "The webhook names one unit more than was paid"),
    (_W, _E.FAILED_FIRST, "P900000027", "The webhook says FAILED, then SUCCESS"),
    (_W, _E.PAID_TWICE, "P900000028", "The code is paid twice: two transfers, two webhooks"),
    (_W, _E.NO_TRANSFER, "P900000029", "The webhook says SUCCESS but no money moved"),
    (_S, _E.ERROR, None, "Sign-in answers 500"),
    (_S, _E.REFUSED, None, "Sign-in cuts the connection"),
    (_S, _E.DENIED, None, "Sign-in refuses the right credentials"),
)
# fmt: on
_TIMES = {"verify-pending": 2, "verify-unknown": 2, "generator-401": 1}
_WHEN_PAID = {
    (_V, effect)
    for effect in (
        _E.PENDING,
        _E.UNKNOWN,
        _E.OTHER_AMOUNT,
        _E.OTHER_CURRENCY,
        _E.OTHER_MERCHANT,
    )
}

FAULTS = tuple(
    Fault(
        point=point,
        effect=effect,
        words=words,
        policy=policy,
        times=_TIMES.get(f"{point.value}-{effect.value}"),
        when_paid=(point, effect) in _WHEN_PAID,
    )
    for point, effect, policy, words in _ROWS
)
_BY_CODE = {fault.code: fault for fault in FAULTS}
_BY_POLICY = {fault.policy: fault for fault in FAULTS if fault.policy}
_BY_PAYER = {fault.payer: fault for fault in FAULTS if fault.policy}


def policy_of_payer(*, payer: str) -> str | None:
    """Return the number of the fault's policy whose payer has this name, if one has."""
    fault = _BY_PAYER.get(payer)
    return fault.policy if fault else None


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A fault that is switched on; `remaining` calls, or None until it is switched off."""

    fault: Fault
    remaining: int | None


class Faults:
    """Which faults are on, and how often each policy's bills have met theirs."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def take(
        self, *, point: Point, policy: str | None = None, bill_id: int = 0, is_paid: bool = False
    ) -> Fault | None:
        """Return the fault that this call meets, counted, or None.

        The bill's own policy goes before the switch.
        """
        with self._store.transaction():
            own = _BY_POLICY.get(policy) if policy else None
            if own and own.point is point and _strikes(own, is_paid=is_paid):
                if own.times is None:
                    return own
                if self._use(own, bill_id) <= own.times:
                    return own
            switch = self._switch(point)
            if switch is None or not _strikes(switch.fault, is_paid=is_paid):
                return None
            self._count_down(switch)
            return switch.fault

    def switch_on(self, *, code: str, times: int | None) -> Switch:
        """Return the switch, on for `times` calls; another at its point is off.

        :raises Refusal: no such fault.
        """
        fault = _BY_CODE.get(code)
        if fault is None:
            raise Refusal(status=404, code="UNKNOWN_FAULT", message="No such fault")
        self._store.run(
            "INSERT INTO switches VALUES (?, ?, ?) ON CONFLICT (point) DO UPDATE SET"
            " fault = excluded.fault, remaining = excluded.remaining",
            *(fault.point.value, fault.code, times),
        )
        return Switch(fault=fault, remaining=times)

    def switch_off(self, *, code: str) -> bool:
        """Return whether the fault was on.

        :raises Refusal: no such fault.
        """
        if code not in _BY_CODE:
            raise Refusal(status=404, code="UNKNOWN_FAULT", message="No such fault")
        return bool(self._store.run("DELETE FROM switches WHERE fault = ?", code))

    def switch_all_off(self) -> int:
        """Return how many were on."""
        return self._store.run("DELETE FROM switches")

    def switched_on(self) -> list[Switch]:
        """Return what is on."""
        return [
            Switch(fault=_BY_CODE[row["fault"]], remaining=row["remaining"])
            for row in self._store.rows("SELECT * FROM switches ORDER BY point")
            if row["fault"] in _BY_CODE  # one of another version is as good as off
        ]

    def _switch(self, point: Point) -> Switch | None:
        return next((one for one in self.switched_on() if one.fault.point is point), None)

    def _count_down(self, switch: Switch) -> None:
        if switch.remaining is None:
            return
        if switch.remaining == 1:
            self._store.run("DELETE FROM switches WHERE fault = ?", switch.fault.code)
        else:
            self._store.run(
                "UPDATE switches SET remaining = remaining - 1 WHERE fault = ?", switch.fault.code
            )

    def _use(self, fault: Fault, bill_id: int) -> int:
        row = self._store.row(
            "INSERT INTO fault_uses VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET uses = uses + 1"
            " RETURNING uses",
            *(fault.code, bill_id),
        )
        return int(row["uses"]) if row else 1


def _strikes(fault: Fault, *, is_paid: bool) -> bool:
    return is_paid or not fault.when_paid
