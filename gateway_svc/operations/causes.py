"""Every cause that a step of a case may show, beside the sentences of `standing.py`.

Causes are kept with states as they are written; pages that speak another language are tested
for completeness against this table. A verification's cause may also be why the bank's answer is
not about the bill, and an event's what went wrong: those are texts for a person to read.
"""

from itertools import product

from gateway_svc.operations.exception import ENDINGS, Action, ProposalState
from gateway_svc.payment import Hold
from gateway_svc.verification import KhqrHold, Status

BILL_CAUSES = (
    *("inquiry", "premium changed"),
    *("payment applied", "obligation paid through another bill"),
)
CODE_CAUSES = (
    *("generated", "a newer code", "the bill closed"),
    *("the obligation was paid", "its time is over"),
)
NOTICE_CAUSES = (
    *("booked", "asking", "decided"),
    *(hold.value for hold in Hold),
    *(hold.value for hold in KhqrHold),
    *(status.value for status in Status),  # what a KHQR notice said as it came
)
PAYMENT_CAUSES = ("bill notice", "late bill notice", "verified", "late, verified")
VERIFICATION_CAUSES = ("paid", "not paid")
DECISION_CAUSES = tuple(f"two people: {action.value}" for action in sorted(ENDINGS))
PROPOSAL_CAUSES = tuple(
    f"{state.value.lower()} {action.value}" for state, action in product(ProposalState, Action)
)
ALL_CAUSES = frozenset(
    {
        *(*BILL_CAUSES, *CODE_CAUSES, *NOTICE_CAUSES, *PAYMENT_CAUSES, *VERIFICATION_CAUSES),
        *(*DECISION_CAUSES, *PROPOSAL_CAUSES),
    }
)
