"""The sandbox's state as the page and its operators read it: money and moments as text."""

import sqlite3
from typing import Any

from amk_sandbox.bank import Transfer
from amk_sandbox.bills import Bill
from amk_sandbox.books import Account, Books
from amk_sandbox.moments import shown
from amk_sandbox.policies import Policies, Policy
from amk_sandbox.store import Store

_MOST_TRANSFERS = 100
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
        "amount": str(transfer.amount),
        "currency": transfer.amount.currency.name,
        "paidAt": shown(stored_text=transfer.paid_at),
        "state": transfer.state.value,
        "attempts": transfer.attempts,
        "nextSendAt": shown(stored_text=transfer.next_send_at) if transfer.next_send_at else None,
        "body": transfer.body.decode(),
        "answers": [_sending_view(row) for row in sendings],
    }


def state_view(
    *, policies: Policies, books: Books, transfers: list[Transfer], store: Store
) -> dict[str, Any]:
    """Return everything that the page shows."""
    return {
        "policies": [policy_view(policy) for policy in policies.every()],
        "accounts": [account_view(account) for account in books.accounts()],
        "transfers": [transfer_view(transfer=one, store=store) for one in transfers],
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


def _sending_view(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "sentAt": shown(stored_text=row["sent_at"]),
        "sentBy": row["sent_by"],
        "status": row["status"],
        "answer": row["answer"],
        "elapsedMs": row["elapsed_ms"],
    }
