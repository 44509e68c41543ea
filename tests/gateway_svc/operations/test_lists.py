"""Lists: narrowed as asked, a page at a time, without a row twice or a row left out.

The database holds what `filled` says.
"""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from chassis.errors import BadRequest
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import FIRST, SECOND, THIRD, Stage, at
from tests.support.ledger import START, notice_for

LISTS = {
    "ListPayments": (pb.ListPaymentsRequest, "payments"),
    "ListBills": (pb.ListBillsRequest, "bills"),
    "ListCodes": (pb.ListCodesRequest, "codes"),
    "ListNotices": (pb.ListNoticesRequest, "notices"),
    "ListEvents": (pb.ListEventsRequest, "events"),
    "ListExceptions": (pb.ListExceptionsRequest, "exceptions"),
}


def _name(row: Any) -> str:
    """Return what tells rows apart, in short."""
    for field in ("payment_id", "code_id", "notice_id", "exception_id", "event_id"):
        if field in row.DESCRIPTOR.fields_by_name and field == next(
            one for one in row.DESCRIPTOR.fields_by_name if one.endswith("_id")
        ):
            return str(getattr(row, field))
    return f"bill-{row.bill_id}"


async def listed(filled: Stage, method: str, **filters: Any) -> list[str]:
    request, members = LISTS[method]
    answer = await filled.ask(method, request(filter=pb.Filter(**filters)))
    if method == "ListEvents":
        return [one.topic.rpartition(".")[2] for one in answer.events]
    return [_name(one) for one in getattr(answer, members)]


NARROWED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("ListPayments", {}, ["payment-3", "payment-2", "payment-1"]),
    ("ListPayments", {"state": "UNAPPLIED"}, ["payment-2"]),
    ("ListPayments", {"channel": "KHQR"}, ["payment-3", "payment-2"]),
    ("ListPayments", {"policy_number": FIRST}, ["payment-2", "payment-1"]),
    ("ListPayments", {"bill_id": 150001}, ["payment-2", "payment-1"]),
    ("ListPayments", {"bill_id": 150001, "policy_number": SECOND}, []),
    ("ListPayments", {"transaction_id": "K1"}, ["payment-2"]),
    ("ListPayments", {"request_id": "bill-request"}, ["payment-2", "payment-1"]),
    ("ListPayments", {"currency": "KHR"}, []),
    ("ListPayments", {"bank_code": "XYZ"}, []),
    ("ListPayments", {"since": at(START + timedelta(minutes=1))}, ["payment-3", "payment-2"]),
    ("ListPayments", {"until": at(START + timedelta(minutes=1))}, ["payment-1"]),
    ("ListBills", {}, ["bill-150003", "bill-150002", "bill-150001"]),
    ("ListBills", {"state": "OPEN"}, ["bill-150003"]),
    ("ListBills", {"currency": "USD"}, ["bill-150002", "bill-150001"]),
    ("ListBills", {"policy_number": SECOND}, ["bill-150002"]),
    ("ListBills", {"transaction_id": "T3"}, ["bill-150003"]),
    ("ListBills", {"transaction_id": "K1"}, ["bill-150001"]),
    ("ListBills", {"request_id": "code-request"}, ["bill-150002"]),
    ("ListBills", {"channel": "BILL"}, ["bill-150001"]),
    ("ListCodes", {}, ["code-1"]),
    ("ListCodes", {"state": "PAID", "bank_code": "AMK", "currency": "USD"}, ["code-1"]),
    ("ListCodes", {"policy_number": FIRST}, []),
    ("ListCodes", {"channel": "BILL"}, []),
    ("ListNotices", {}, ["notice-2", "khqr-2", "khqr-1", "notice-1"]),
    ("ListNotices", {"state": "HELD"}, ["notice-2", "khqr-1"]),
    ("ListNotices", {"channel": "BILL"}, ["notice-2", "notice-1"]),
    ("ListNotices", {"channel": "KHQR"}, ["khqr-2", "khqr-1"]),
    ("ListNotices", {"policy_number": FIRST}, ["khqr-1", "notice-1"]),
    ("ListNotices", {"policy_number": THIRD}, ["notice-2"]),
    ("ListNotices", {"transaction_id": "K2"}, ["khqr-2"]),
    ("ListNotices", {"transaction_id": "T1"}, ["notice-1"]),
    ("ListNotices", {"request_id": "held-request"}, ["notice-2"]),
    ("ListNotices", {"request_id": "bill-request"}, ["notice-1"]),
    ("ListEvents", {"policy_number": FIRST}, ["verified", "success", "confirmed"]),
    ("ListEvents", {"bill_id": 150001, "channel": "BILL"}, ["success", "confirmed"]),
    ("ListEvents", {"transaction_id": "K1"}, ["verified"]),
    ("ListEvents", {"transaction_id": "T1"}, ["success", "confirmed"]),
    ("ListEvents", {"request_id": "code-request"}, ["generated-event"]),
    ("ListEvents", {"state": "PUBLISHED"}, []),
    ("ListEvents", {"currency": "KHR"}, []),
    ("ListExceptions", {}, ["payment-2", "notice-2"]),
    ("ListExceptions", {"channel": "BILL"}, ["notice-2"]),
    ("ListExceptions", {"channel": "KHQR"}, ["payment-2"]),
    ("ListExceptions", {"policy_number": THIRD}, ["notice-2"]),
    ("ListExceptions", {"bill_id": 150001}, ["payment-2"]),
    ("ListExceptions", {"transaction_id": "T3"}, ["notice-2"]),
    ("ListExceptions", {"state": "OPEN", "currency": "USD"}, ["payment-2", "notice-2"]),
    ("ListExceptions", {"state": "PROPOSED"}, []),
    ("ListExceptions", {"state": "RESOLVED"}, []),
    ("ListExceptions", {"since": at(START + timedelta(minutes=2))}, ["notice-2"]),
]


async def test_a_list_holds_what_fits_all_that_is_asked(filled: Stage) -> None:
    found = [await listed(filled, method, **filters) for method, filters, _ in NARROWED]
    wrong = [
        (method, filters, wanted, seen)
        for (method, filters, wanted), seen in zip(NARROWED, found, strict=True)
        if seen != wanted
    ]
    assert wrong == []


async def test_an_event_is_found_by_its_id_and_leads_to_its_bill(filled: Stage) -> None:
    [(event_id,)] = await filled.rows("SELECT event_id FROM outbox ORDER BY id LIMIT 1")
    assert await listed(filled, "ListEvents", event_id=event_id) == ["confirmed"]
    assert await listed(filled, "ListBills", event_id=event_id) == ["bill-150001"]
    assert await listed(filled, "ListBills", event_id="none") == []


@pytest.mark.parametrize("method", LISTS)
async def test_pages_of_one_are_the_list_whatever_comes_meanwhile(
    filled: Stage, method: str
) -> None:
    request, members = LISTS[method]
    whole = [_name(one) for one in getattr(await filled.ask(method, request()), members)]
    seen, token = [], ""
    while True:
        answer = await filled.ask(method, request(page_size=1, page_token=token))
        seen += [_name(one) for one in getattr(answer, members)]
        token = answer.next_page_token
        if not token:
            break
        filled.now += timedelta(seconds=1)
        bill = await filled.bill(policy=f"P{len(seen):09d}")
        await filled.confirmation.record(
            [notice_for(bill, transaction_id=f"new-{len(seen)}", policy_number=f"P{len(seen):09d}")]
        )
    assert seen == whole


@pytest.mark.parametrize("method", LISTS)
async def test_a_token_of_another_list_or_filter_or_a_broken_one_is_named(
    filled: Stage, method: str
) -> None:
    request, _ = LISTS[method]
    other = pb.ListBillsRequest if method != "ListBills" else pb.ListPaymentsRequest
    foreign = await filled.ask(other.__name__.removesuffix("Request"), other(page_size=1))
    own = (await filled.ask(method, request(page_size=1))).next_page_token or "xyz"
    forged = base64.urlsafe_b64encode(json.dumps([request.__name__, "", [1 << 70]]).encode())
    for token, bank_code in (
        (foreign.next_page_token, ""),
        (own, "AMK"),
        (own[:-2], ""),
        ("%%%", ""),
        ("W10", ""),
        (forged.decode(), ""),
    ):
        with pytest.raises(BadRequest) as refusal:
            await filled.ask(
                method, request(page_token=token, filter=pb.Filter(bank_code=bank_code))
            )
        assert [one.field for one in refusal.value.violations] == ["pageToken"], token


@pytest.mark.parametrize("method", LISTS)
async def test_no_page_is_larger_than_two_hundred(filled: Stage, method: str) -> None:
    request, _ = LISTS[method]
    with pytest.raises(BadRequest) as refusal:
        await filled.ask(method, request(page_size=201, filter=pb.Filter()))
    assert [one.field for one in refusal.value.violations] == ["pageSize"]
    with pytest.raises(BadRequest) as refusal:
        await filled.ask(method, request(filter=pb.Filter(state="NO_SUCH")))
    assert [one.field for one in refusal.value.violations] == ["filter.state"]
    backwards = pb.Filter(since=at(START), until=at(START))
    with pytest.raises(BadRequest) as refusal:
        await filled.ask(method, request(filter=backwards))
    assert [one.field for one in refusal.value.violations] == ["filter.until"]


FOUND = {
    "150001": ([150001], "BILL"),
    FIRST: ([150001], "POLICY"),
    "A1": ([150001], "POLICY"),
    "T1": ([150001], "TRANSACTION"),
    "K1": ([150001], "TRANSACTION"),
    "T3": ([150003], "TRANSACTION"),
    "bill-request": ([150001], "REQUEST"),
    "khqr-request-2": ([150002], "REQUEST"),
    "held-request": ([150003], "REQUEST"),
    "code-request": ([150002], "REQUEST"),
    "nothing": ([], ""),
    "0": ([], ""),
    "9" * 40: ([], ""),
}


async def test_any_number_leads_to_its_bills(filled: Stage) -> None:
    for text, (bill_ids, found_as) in FOUND.items():
        answer = await filled.ask("FindCases", pb.FindCasesRequest(text=text))
        assert [one.bill_id for one in answer.cases] == bill_ids, text
        assert {pb.FoundAs.Name(one.found_as) for one in answer.cases} == {
            f"FOUND_AS_{found_as}" for _ in bill_ids
        }, text
        assert not answer.more


async def test_a_text_that_leads_to_many_bills_shows_a_hundred_and_says_so(filled: Stage) -> None:
    for year in range(102):
        await filled.bill(policy="P444444444", due_on=(START + timedelta(days=year)).date())
    answer = await filled.ask("FindCases", pb.FindCasesRequest(text="P444444444"))
    assert (len(answer.cases), answer.more) == (100, True)
