"""What a proposal and its approval come to. Pure rules, no I/O."""

from dataclasses import dataclass

from gateway_svc.operations.exception import (
    ENDINGS,
    Action,
    Exceptional,
    ExceptionState,
    Proposal,
    ProposalState,
    may_be_applied,
    misfit,
)
from gateway_svc.payment import Bill, Obligation, Settlement


@dataclass(frozen=True, kw_only=True)
class Refused:
    """It cannot end that way, or not by this person; the text says why."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What an approval does: `settlement` is the bill that the money pays, where it pays one."""

    action: Action
    settlement: Settlement | None

    @property
    def ends(self) -> bool:
        """Whether nothing is left to do."""
        return self.action in ENDINGS


def refuse_proposal(
    *,
    exceptional: Exceptional,
    action: Action,
    bill: Bill | None,
    obligation_paid: bool,
) -> Refused | None:
    """Return why `action` cannot be proposed, None where it can."""
    state = exceptional.state
    if state is ExceptionState.RESOLVED:
        return Refused(why="The exception has ended")
    if state is ExceptionState.PROPOSED:
        return Refused(why="Another proposal waits for somebody to decide it")
    return _refuse_action(exceptional, action, bill, obligation_paid=obligation_paid)


def refuse_decision(*, proposal: Proposal, by: str, approves: bool) -> Refused | None:
    """Return why `by` cannot decide `proposal`, None where they can."""
    if proposal.state is not ProposalState.PROPOSED:
        return Refused(why=f"The proposal was {proposal.state.value.lower()} before")
    if approves and proposal.proposed_by == by:
        return Refused(why="Whoever proposed it may not approve it")
    return None


def decide_ending(
    *,
    exceptional: Exceptional,
    proposal: Proposal,
    bill: Bill | None,
    obligation: Obligation | None,
    other_open_bills: tuple[Bill, ...],
) -> Ending | Refused:
    """Return what the approval of `proposal` does, all of it read under lock."""
    if exceptional.state is ExceptionState.RESOLVED:
        return Refused(why="The exception has ended meanwhile")
    refused = _refuse_action(
        exceptional,
        proposal.action,
        bill,
        obligation_paid=obligation is not None and obligation.paid,
    )
    if refused is not None:
        return refused
    if proposal.action is not Action.APPLY:
        return Ending(action=proposal.action, settlement=None)
    if bill is None or obligation is None:
        raise ValueError("a bill that fits is a bill of an obligation")
    return Ending(
        action=Action.APPLY,
        settlement=Settlement(
            obligation=obligation, bill=bill, closed=other_open_bills, late=False
        ),
    )


def _refuse_action(
    exceptional: Exceptional, action: Action, bill: Bill | None, *, obligation_paid: bool
) -> Refused | None:
    held = exceptional.held
    if action is Action.APPLY and held.is_sent_back:
        return Refused(why="What another claim of the same money tells of is sent back")
    if action is Action.APPLY and not may_be_applied(held):
        return Refused(
            why="The transfer is a payment already"
            if held.is_taken
            else "Only money that the bank vouches for can pay a bill"
        )
    if action not in exceptional.possible:
        allowed = ", ".join(one.value for one in exceptional.possible)
        return Refused(why=f"It cannot end by {action.value}; possible: {allowed}")
    if action is not Action.APPLY:
        return None
    difference = misfit(held=held, bill=bill, obligation_paid=obligation_paid)
    return Refused(why=f"The money cannot pay that bill: {difference}") if difference else None
