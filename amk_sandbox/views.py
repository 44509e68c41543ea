"""The sandbox's state as the page and its operators read it: money and moments as text."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from amk_sandbox.bank_api import BankParts
from amk_sandbox.bills import Bill
from amk_sandbox.books import Account, Books
from amk_sandbox.calls import Call
from amk_sandbox.codes import Code, Codes
from amk_sandbox.faults import FAULTS, Faults
from amk_sandbox.insurer import Insurer
from amk_sandbox.moments import shown
from amk_sandbox.notices import Notice, Notices
from amk_sandbox.policies import Policies, Policy
from amk_sandbox.store import Store
from amk_sandbox.transfers import Transfer, Transfers
from chassis.money import Currency, Money

_MOST_TRANSFERS = 100
_MOST_CODES = 50
_MOST_SENDINGS = 10


def policy_view(policy: Policy) -> dict[str, Any]:
    """Return a policy for operators."""
    return {
        "number": policy.number,
        "applicationNumber": policy.application_number,
        "payer": policy.payer,
        "amount": str(policy.premium),
        "currency": policy.premium.currency.name,
        "dueDate": policy.due_on.isoformat(),
        "due": policy.is_due,
        "settledBy": policy.settled_by,
        "settledAt": shown(stored_text=policy.settled_at) if policy.settled_at else None,
        "note": policy.note,
    }


def account_view(account: Account) -> dict[str, Any]:
    """Return an account and its balance."""
    return {
        "id": account.id,
        "kind": account.kind,
        "holder": account.holder,
        "balance": str(account.balance),
        "currency": account.balance.currency.name,
    }


def bill_view(bill: Bill) -> dict[str, Any]:
    """Return a bill as the bank's app shows it."""
    return {
        "id": bill.id,
        "query": bill.query,
        "policyNumber": bill.policy_number,
        "payer": bill.payer,
        "amount": str(bill.amount),
        "currency": bill.amount.currency.name,
        "dueDate": bill.due_on.isoformat(),
    }


def transfer_view(*, transfer: Transfer, store: Store) -> dict[str, Any]:
    """Return a transfer, the webhook that tells of it, and the latest answers."""
    sendings = store.rows(
        "SELECT * FROM sendings WHERE bank_transaction_id = ? ORDER BY id DESC LIMIT ?",
        *(transfer.bank_transaction_id, _MOST_SENDINGS),
    )
    return {
        "bankTransactionId": transfer.bank_transaction_id,
        "billId": transfer.bill_id,
        "channel": transfer.channel.value,
        "amount": str(transfer.amount),
        "currency": transfer.amount.currency.name,
        "paidAt": shown(stored_text=transfer.paid_at),
        "state": transfer.state.value,
        "attempts": transfer.attempts,
        "nextSendAt": shown(stored_text=transfer.next_send_at) if transfer.next_send_at else None,
        "body": transfer.body.decode(),
        "answers": [_sending_view(row) for row in sendings],
    }


def notice_view(*, notice: Notice, store: Store) -> dict[str, Any]:
    """Return a webhook of a code, and the latest answers."""
    sendings = store.rows(
        "SELECT * FROM notice_sendings WHERE notice_id = ? ORDER BY id DESC LIMIT ?",
        *(notice.id, _MOST_SENDINGS),
    )
    return {
        "id": notice.id,
        "billId": notice.bill_id,
        "bankTransactionId": notice.bank_transaction_id,
        "fault": notice.fault,
        "state": notice.state.value,
        "attempts": notice.attempts,
        "nextSendAt": shown(stored_text=notice.next_send_at) if notice.next_send_at else None,
        "body": notice.body.decode(),
        "answers": [_sending_view(row) for row in sendings],
    }


def code_view(*, code: Code, codes: Codes) -> dict[str, Any]:
    """Return a code as issued, and where its image is."""
    return {
        "id": code.id,
        "billId": code.bill_id,
        "amount": str(code.amount),
        "currency": code.amount.currency.name,
        "payload": code.payload,
        "md5": code.md5,
        "policyNumber": codes.policy_of(bill_id=code.bill_id),
        "shownFor": code.shown_for,
        "createdAt": shown(stored_text=code.created_at),
        "expiresAt": shown(stored_text=code.expires_at),
        "state": code.state(now=codes.now()).value,
        "timesPaid": code.times_paid,
        "isBillPaid": codes.is_bill_paid(code=code),
        "image": f"/sandbox/khqr/{code.bill_id}/image?code={code.id}",
    }


def call_view(call: Call) -> dict[str, Any]:
    """Return a call that the bank received, and its answer."""
    return {
        "id": call.id,
        "endpoint": call.endpoint,
        "receivedAt": shown(stored_text=call.received_at),
        "asked": call.asked,
        "fault": call.fault,
        "status": call.status,
        "answer": call.answer,
        "elapsedMs": call.elapsed_ms,
    }


def fault_views(*, faults: Faults) -> list[dict[str, Any]]:
    """Return the table of faults, each with whether and for how long it is on."""
    on = {switch.fault.code: switch for switch in faults.switched_on()}
    return [
        {
            "code": fault.code,
            "point": fault.point.value,
            "words": fault.words,
            "policy": fault.policy,
            "on": fault.code in on,
            "remaining": on[fault.code].remaining if fault.code in on else None,
        }
        for fault in FAULTS
    ]


@dataclass(frozen=True, kw_only=True)
class StateParts:
    """What the page looks into."""

    policies: Policies
    books: Books
    transfers: Transfers
    notices: Notices
    bank: BankParts
    store: Store
    insurer: Insurer


def state_view(*, parts: StateParts) -> dict[str, Any]:
    """Return everything that the page shows."""
    store, bank, tokens = parts.store, parts.bank, parts.bank.tokens.counts()
    return {
        "consoleUrl": parts.insurer.console_url(),
        "latestBillId": _latest_bill_id(store),
        "policies": [policy_view(policy) for policy in parts.policies.every()],
        "lookUps": [
            _look_up_view(row)
            for row in store.rows(
                "SELECT * FROM bills WHERE policy_number <> '' ORDER BY looked_up_at DESC LIMIT ?",
                _MOST_TRANSFERS,
            )
        ],
        "accounts": [account_view(account) for account in parts.books.accounts()],
        "transfers": [
            transfer_view(transfer=one, store=store)
            for one in parts.transfers.latest(most=_MOST_TRANSFERS)
        ],
        "notices": [
            notice_view(notice=one, store=store) for one in parts.notices.latest(most=_MOST_CODES)
        ],
        "codes": [
            code_view(code=one, codes=bank.codes) for one in bank.codes.latest(most=_MOST_CODES)
        ],
        "calls": [call_view(one) for one in bank.calls.latest(most=_MOST_CODES)],
        "callCounts": bank.calls.counts(),
        "tokens": {"given": tokens.given, "good": tokens.good},
        "faults": fault_views(faults=bank.faults),
        "events": [
            {
                "eventId": row["event_id"],
                "policyNumber": row["policy_number"],
                "settled": bool(row["settled"]),
                "seenAt": shown(stored_text=row["seen_at"]),
            }
            for row in store.rows(
                "SELECT * FROM seen_events ORDER BY rowid DESC LIMIT ?", _MOST_TRANSFERS
            )
        ],
    }


def _latest_bill_id(store: Store) -> int | None:
    """Return the bill that was looked up, shown as a code or paid last."""
    row = store.row(
        "SELECT id FROM (SELECT id, looked_up_at AS at FROM bills WHERE policy_number <> ''"
        " UNION ALL SELECT bill_id, created_at FROM codes"
        " UNION ALL SELECT bill_id, paid_at FROM transfers) ORDER BY at DESC LIMIT 1"
    )
    return row["id"] if row else None


def _look_up_view(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "billId": row["id"],
        "query": row["query"],
        "policyNumber": row["policy_number"],
        "amount": str(Money(hundredths=row["hundredths"], currency=Currency(row["currency"]))),
        "currency": row["currency"],
        "lookedUpAt": shown(stored_text=row["looked_up_at"]),
    }


def _sending_view(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "sentAt": shown(stored_text=row["sent_at"]),
        "sentBy": row["sent_by"],
        "status": row["status"],
        "answer": row["answer"],
        "elapsedMs": row["elapsed_ms"],
    }
