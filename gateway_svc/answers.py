"""Answers as they are kept beside their notices, and read back to be replayed."""

import json
from typing import Any

from gateway_svc.payment import Answer, Confirmed, Refusal
from gateway_svc.verification import Acknowledged, KhqrAnswer

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def answer_text(answer: Answer) -> str:
    """Return the answer to a bill notice as text."""
    if isinstance(answer, Confirmed):
        return _text({"transaction_id": answer.transaction_id, "bill_id": answer.bill_id})
    return _text(_refusal(answer))


def parse_answer(text: str) -> Answer:
    """Return the answer that `answer_text` wrote."""
    kept = json.loads(text)
    return Refusal(**kept) if "reason" in kept else Confirmed(**kept)


def khqr_answer_text(answer: KhqrAnswer | None) -> str | None:
    """Return the answer to a KHQR notice as text, None where there is none yet."""
    if answer is None:
        return None
    if isinstance(answer, Acknowledged):
        return _text({"status": answer.status, "transaction_id": answer.transaction_id})
    return _text(_refusal(answer))


def parse_khqr_answer(text: str | None) -> KhqrAnswer | None:
    """Return the answer that `khqr_answer_text` wrote."""
    if text is None:
        return None
    kept = json.loads(text)
    return Refusal(**kept) if "reason" in kept else Acknowledged(**kept)


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "reason": refusal.reason,
        "message": refusal.message,
        "details": refusal.details,
    }


def _text(kept: dict[str, Any]) -> str:
    return _ENCODER.encode(kept)
