"""`payctl up` with the real parts: its printed commands, copied as they are into a shell."""

import shutil
from pathlib import Path

import pytest

from tests.payctl.running_up import payctl_up

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the printed commands call curl, which is not installed"
)


def test_the_printed_commands_work_as_printed_on_a_first_and_a_second_start(
    tmp_path: Path,
) -> None:
    with payctl_up(tmp_path) as first:
        bill, paid, nothing, payment, by_code = first.answers()
    assert bill["data"]["policyNumber"] == "P123456789"
    assert paid["transfer"]["state"] == "CONFIRMED"
    assert nothing["error"] == {
        "code": "RESOURCE_NOT_FOUND",
        "message": "No premium due",
        "details": "Query: P123456789",
    }
    assert (payment["data"]["id"], payment["data"]["status"]) == (bill["data"]["id"], "PAID")
    assert payment["data"]["transactionId"] == paid["transfer"]["bankTransactionId"]

    assert by_code["data"]["status"] == "PAID"

    with payctl_up(tmp_path) as second:
        other, paid, nothing, payment, by_code = second.answers()
    assert other["data"]["policyNumber"] != "P123456789"  # that one is paid already
    assert paid["transfer"]["state"] == "CONFIRMED"
    assert nothing["error"]["message"] == "No premium due"
    assert payment["data"]["status"] == by_code["data"]["status"] == "PAID"
