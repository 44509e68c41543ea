"""The order of steps by which two people end an exception: propose; lock, read again, carry out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.attempts import repeated
from chassis.database import Database
from chassis.errors import BadRequest, ServiceError, Violation
from chassis.outbox import Event, append
from gateway_svc.events import EventWriter
from gateway_svc.operations import proposal_store
from gateway_svc.operations.ending_store import record_ending
from gateway_svc.operations.exception import (
    Action,
    Exceptional,
    Held,
    Proposal,
    ProposalState,
    parse_exception_id,
)
from gateway_svc.operations.resolution import (
    Ending,
    Refused,
    decide_ending,
    refuse_decision,
    refuse_proposal,
)
from gateway_svc.payment import Obligation
from gateway_svc.rows import Overtaken
from gateway_svc.tables import outbox

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How somebody would end an exception."""

    exception_id: str
    action: Action
    bill_id: int | None
    bank_reference: str | None
    reason: str
    by: str
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Word:
    """What somebody says about a proposal."""

    proposal_id: int
    approves: bool
    reason: str
    by: str
    request_id: str

    @property
    def state(self) -> ProposalState:
        """What the proposal becomes by it."""
        return ProposalState.APPROVED if self.approves else ProposalState.REJECTED


class Resolving:
    """Keeps proposals, and carries out those that somebody else approves."""

    def __init__(
        self,
        *,
        database: Database,
        events: EventWriter,
        clock: Callable[[], datetime],
        committed: Callable[[], None],
    ) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._committed = committed

    async def propose(self, *, wish: Wish) -> Proposal:
        """Keep how somebody would end an exception; nothing else happens.

        :raises BadRequest: a bill or reference is missing, or is none of this action's.
        :raises ServiceError: RESOURCE_NOT_FOUND, RESOLUTION_REFUSED.
        """
        _check_members(wish)
        proposal = await repeated(work=lambda: self._propose_once(wish))
        _log.info(
            "resolution_proposed",
            exception_id=wish.exception_id,
            action=wish.action,
            proposal_id=proposal.proposal_id,
        )
        return proposal

    async def decide(self, *, word: Word) -> Exceptional:
        """Approve or reject a proposal; an approved one is carried out before this returns.

        The same word of the same person, said again, changes nothing and gets the same answer.

        :raises BadRequest: the reason is blank.
        :raises ServiceError: RESOURCE_NOT_FOUND, RESOLUTION_REFUSED.
        """
        _check_reason(word.reason)
        exceptional = await repeated(work=lambda: self._decide_once(word), also_after=(Overtaken,))
        self._committed()
        _log.info(
            "resolution_decided",
            exception_id=exceptional.held.exception_id,
            proposal_id=word.proposal_id,
            approved=word.approves,
        )
        return exceptional

    async def _propose_once(self, wish: Wish) -> Proposal:
        now = self._clock()
        async with self._database.transaction(name="propose") as connection:
            obligations, exceptional = await _locked(connection, wish.exception_id, wish.bill_id)
            before = _unheard(exceptional, wish)
            if before is not None:
                return before
            bill = await proposal_store.load_bill(connection=connection, bill_id=wish.bill_id)
            refused = refuse_proposal(
                exceptional=exceptional,
                action=wish.action,
                bill=bill,
                obligation_paid=bill is not None and obligations[bill.obligation_id].paid,
            )
            if refused is not None:
                raise _refused(refused.why)
            proposal = await proposal_store.insert_proposal(
                connection=connection,
                held=exceptional.held,
                action=wish.action,
                bill_id=wish.bill_id,
                bank_reference=wish.bank_reference,
                reason=wish.reason,
                by=wish.by,
                request_id=wish.request_id,
                at=now,
            )
            if proposal is None:
                raise _refused("Another proposal waits for somebody to decide it")
            return proposal

    async def _decide_once(self, word: Word) -> Exceptional:
        now = self._clock()
        async with self._database.transaction(name="decide") as connection:
            known = await proposal_store.find_proposal(
                connection=connection, proposal_id=word.proposal_id
            )
            if known is None:
                raise _not_found("proposal", str(word.proposal_id))
            obligations, exceptional = await _locked(connection, known.exception_id, known.bill_id)
            proposal = await proposal_store.lock_proposal(
                connection=connection, proposal_id=word.proposal_id
            )
            if (proposal.state, proposal.decided_by) == (word.state, word.by):
                return exceptional  # said before, and nobody may have heard the answer
            refused = refuse_decision(proposal=proposal, by=word.by, approves=word.approves)
            if refused is not None:
                raise _refused(refused.why)
            ending = (
                await _decided(connection, exceptional, proposal, obligations)
                if word.approves
                else None
            )
            await proposal_store.decide_proposal(
                connection=connection,
                proposal=proposal,
                state=word.state,
                by=word.by,
                reason=word.reason,
                at=now,
            )
            if ending is not None:
                await self._carry_out(connection, exceptional.held, ending, word.request_id, now)
            return await _exceptional(connection, proposal.exception_id)

    async def _carry_out(
        self,
        connection: AsyncConnection,
        held: Held,
        ending: Ending,
        request_id: str,
        at: datetime,
    ) -> None:
        events: Sequence[Event] = ()
        if ending.settlement is not None:
            events = self._events.of_settlement(
                settlement=ending.settlement,
                transaction_id=held.transaction_id,
                paid_at=held.paid_at or at,
                channel=held.channel,
                request_id=request_id,
                at=at,
            )
        await record_ending(
            connection=connection, held=held, ending=ending, events=len(events), at=at
        )
        await append(connection=connection, table=outbox, events=events, at=at)


async def _locked(
    connection: AsyncConnection, exception_id: str, bill_id: int | None
) -> tuple[Mapping[int, Obligation], Exceptional]:
    """Return the obligations concerned and the exception, both locked, in this order."""
    kind, number = parse_exception_id(exception_id)
    obligations = await proposal_store.lock_obligations_of(
        connection=connection, kind=kind, number=number, bill_id=bill_id
    )
    await proposal_store.lock_held(connection=connection, kind=kind, number=number)
    return obligations, await _exceptional(connection, exception_id)


async def _exceptional(connection: AsyncConnection, exception_id: str) -> Exceptional:
    kind, number = parse_exception_id(exception_id)
    found = await proposal_store.load_exception(connection=connection, kind=kind, number=number)
    if found is None:
        raise _not_found("exception", exception_id)
    return found


async def _decided(
    connection: AsyncConnection,
    exceptional: Exceptional,
    proposal: Proposal,
    obligations: Mapping[int, Obligation],
) -> Ending:
    bill = await proposal_store.load_bill(connection=connection, bill_id=proposal.bill_id)
    ending = decide_ending(
        exceptional=exceptional,
        proposal=proposal,
        bill=bill,
        obligation=None if bill is None else obligations[bill.obligation_id],
        other_open_bills=await proposal_store.other_open_bills(connection=connection, bill=bill),
    )
    if isinstance(ending, Refused):
        raise _refused(ending.why)
    return ending


def _check_members(wish: Wish) -> None:
    violations = []
    for field, value, of in (
        ("billId", wish.bill_id, Action.APPLY),
        ("bankReference", wish.bank_reference, Action.REFUNDED),
    ):
        if wish.action is of and value is None:
            violations.append(Violation(field=field, description=f"is required of {of.value}"))
        if wish.action is not of and value is not None:
            violations.append(Violation(field=field, description=f"is only of {of.value}"))
    if violations:
        raise BadRequest(violations=violations)
    _check_reason(wish.reason)


def _check_reason(reason: str) -> None:
    if not reason:
        raise BadRequest(violations=[Violation(field="reason", description="is required")])


def _unheard(exceptional: Exceptional, wish: Wish) -> Proposal | None:
    """Return the proposal that this very request made in an attempt nobody heard the end of."""
    own = (wish.by, wish.request_id, wish.action, wish.bill_id, wish.bank_reference, wish.reason)
    return next(
        (
            one
            for one in exceptional.proposals
            if (
                *(one.proposed_by, one.request_id, one.action),
                *(one.bill_id, one.bank_reference, one.reason),
            )
            == own
            and one.state is ProposalState.PROPOSED
        ),
        None,
    )


def _refused(why: str) -> ServiceError:
    return ServiceError(
        reason="RESOLUTION_REFUSED", message="The exception cannot end that way", details=why
    )


def _not_found(what: str, name: str) -> ServiceError:
    return ServiceError(
        reason="RESOURCE_NOT_FOUND", message=f"No such {what}", details=f"Id: {name}"
    )
