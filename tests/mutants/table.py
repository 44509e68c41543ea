"""Faults that would lose or double money, planted one by one, and the tests that see them.

Each edit names text that stands in the file exactly once; a test run on the planted tree must
go red, and the same tests on the tree as it is must be green, else the catch proves nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One replacement in one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A planted fault; `tests` are what pytest is told to run, `points` where a drill kills."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    points: tuple[str, ...] = ()


_CONFIRMATION = "gateway_svc/confirmation.py"
_FIRST = "gateway_svc/migrations/versions/0001_first.py"
_TABLES = "gateway_svc/tables.py"
_OPERATIONS = "gateway_svc/migrations/versions/0004_operations.py"
_RESOLUTION = "gateway_svc/operations/resolution.py"
_EXCEPTION = "gateway_svc/operations/exception.py"
_RECORD = """\
            await batch.record(
                decisions=fresh,
                events=events,
                events_per_settlement=EVENTS_PER_SETTLEMENT,
                at=now,
            )
"""
_RECORD_SILENTLY = _RECORD.replace("events=events", "events=[]")
_IMPORTS = """\
            from chassis.outbox import append
            from gateway_svc.tables import outbox
"""

MUTANTS = (
    Mutant(
        name="no unique key",
        edits=(
            Edit(
                file=_FIRST,
                old='        sa.UniqueConstraint(\n            "bank_code", "transaction_id",'
                ' name=op.f("uq_payments_bank_code_transaction_id")\n        ),\n',
                new="",
            ),
            Edit(
                file=_TABLES,
                old='    UniqueConstraint("bank_code", "transaction_id"),\n',
                new="",
            ),
        ),
        tests=("tests/gateway_svc/test_schema.py",),
    ),
    Mutant(
        name="publish before commit",
        edits=(
            Edit(
                file=_CONFIRMATION,
                old=_RECORD,
                new=_IMPORTS + "            async with self._database.transaction() as sooner:\n"
                "                await append(\n"
                "                    connection=sooner, table=outbox, events=events, at=now\n"
                "                )\n" + _RECORD_SILENTLY,
            ),
        ),
        tests=("tests/gateway_svc/test_commit_order.py",),
        points=("confirm.before_commit",),
    ),
    Mutant(
        name="publish without outbox",
        edits=(
            Edit(
                file=_CONFIRMATION,
                old=_RECORD,
                new=_IMPORTS
                + _RECORD_SILENTLY
                + "        async with self._database.transaction() as later:\n"
                "            await append(connection=later, table=outbox, events=events, at=now)\n",
            ),
        ),
        tests=("tests/gateway_svc/test_commit_order.py",),
        points=("confirm.after_commit",),
    ),
    Mutant(
        name="mark before acknowledgement",
        edits=(
            Edit(
                file="chassis/relay.py",
                old="        outcomes = await self._outcomes([row.event for row in rows])\n",
                new="        outcomes = [Delivery(partition=0, offset=0)] * len(rows)\n"
                "        events = [row.event for row in rows]\n"
                "        asyncio.get_running_loop().create_task(self._outcomes(events))\n",
            ),
        ),
        tests=("tests/chassis/test_relay.py",),
        points=("relay.after_acknowledgement", "relay_mark.after_commit"),
    ),
    Mutant(
        name="answer before commit",
        edits=(
            Edit(
                file=_CONFIRMATION,
                old="        decisions = await repeated(\n"
                "            work=lambda: self._attempt(notices, unheard),"
                " also_after=(Overtaken,)\n"
                "        )\n",
                new="        async with opened_batch(database=self._database) as batch:\n"
                "            book = await batch.load(notices=notices)\n"
                "        decisions = [book.decide(notice) for notice in notices]\n"
                "        import asyncio\n"
                "        self.late = asyncio.create_task(self._record_once(notices, []))\n",
            ),
        ),
        tests=("tests/gateway_svc/test_commit_order.py",),
        points=("confirm.before_commit",),
    ),
    Mutant(
        name="time-out treated as paid",
        edits=(
            Edit(
                file="gateway_svc/banks/amk.py",
                old="        except ExchangeFailed:\n            return _unavailable()\n",
                new="        except ExchangeFailed:\n"
                "            return Verification(\n"
                "                paid=True,\n"
                "                money=parse_money(text='150.00', currency=Currency.USD),\n"
                "                transaction_id=None,\n"
                "                paid_at=None,\n"
                "                foreign='',\n"
                "                asked_at=asked_at,\n"
                "                answer_digest='timeout',\n"
                "            )\n",
            ),
        ),
        tests=("tests/gateway_svc/test_amk_verify.py",),
    ),
    Mutant(
        name="amount not compared (bill)",
        edits=(
            Edit(
                file="gateway_svc/law.py",
                old="            difference = _difference(notice.money, bill.money)\n",
                new='            difference = ""\n',
            ),
        ),
        tests=("tests/gateway_svc/test_law.py",),
    ),
    Mutant(
        name="amount not compared (KHQR)",
        edits=(
            Edit(
                file="gateway_svc/khqr_law.py",
                old="    if finding.money != case.bill.money:\n",
                new="    if finding.money is None:\n",
            ),
        ),
        tests=("tests/gateway_svc/test_khqr_confirmation.py",),
    ),
    Mutant(
        name="decide outside the lock",
        edits=(
            Edit(
                file="gateway_svc/rows.py",
                old="        .where(obligations.c.id.in_(concerned))\n"
                "        .order_by(obligations.c.id)\n"
                "        .with_for_update()\n",
                new="        .where(obligations.c.id.in_(concerned))\n"
                "        .order_by(obligations.c.id)\n",
            ),
        ),
        tests=("tests/gateway_svc/test_confirmation.py",),
    ),
    Mutant(
        name="replay of a non-final answer",
        edits=(
            Edit(
                file="gateway_svc/khqr_booking.py",
                old="    if isinstance(answer, Acknowledged):\n"
                "        return answer.status != Status.PENDING\n"
                "    return answer is not None and answer.reason == _MISMATCHED\n",
                new="    return answer is not None\n",
            ),
        ),
        tests=("tests/gateway_svc/test_khqr_confirmation.py",),
    ),
    Mutant(
        name="obligation not unique",
        edits=(
            Edit(
                file=_FIRST,
                old="        sa.UniqueConstraint(\n"
                '            "policy_number",\n'
                '            "due_on",\n'
                '            "currency",\n'
                '            name=op.f("uq_obligations_policy_number_due_on_currency"),\n'
                "        ),\n",
                new="",
            ),
            Edit(
                file=_TABLES,
                old='    UniqueConstraint("policy_number", "due_on", "currency"),\n',
                new="",
            ),
        ),
        tests=("tests/gateway_svc/test_schema.py",),
    ),
    Mutant(
        name="one person is two people",
        edits=(
            Edit(
                file=_RESOLUTION,
                old="if approves and proposal.proposed_by == by:",
                new="if False:",
            ),
            Edit(
                file=_OPERATIONS,
                old="state <> 'APPROVED' OR decided_by <> proposed_by",
                new="state <> 'APPROVED' OR decided_by <> ''",
            ),
        ),
        tests=(
            "tests/gateway_svc/operations/test_exceptions.py",
            "tests/gateway_svc/operations/test_schema.py",
        ),
    ),
    Mutant(
        name="an approval does not read again",
        edits=(
            Edit(
                file=_EXCEPTION,
                old="    if obligation_paid:\n        return",
                new="    if False:\n        return",
            ),
            Edit(
                file=_EXCEPTION, old="    if bill.state is not BillState.OPEN:", new="    if False:"
            ),
        ),
        tests=("tests/gateway_svc/operations/test_racing.py",),
    ),
    Mutant(
        name="money applied without a word of two",
        edits=(
            Edit(
                file=_OPERATIONS,
                old="\"OLD.state = 'UNAPPLIED' AND NEW.state = 'APPLIED'\",",
                new="\"OLD.state = 'NONE' AND NEW.state = 'APPLIED'\",",
            ),
        ),
        tests=("tests/gateway_svc/operations/test_schema.py",),
    ),
)
