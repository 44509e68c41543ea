"""Every operation of `/openapi.json`, asked by schemathesis, answers inside the contract.

The whole system runs: bridge, gateway, KHQR service, sandbox, SQLite. All checks of schemathesis
are on, for all operations, in all of its phases. One check calls a failure what is none: a
request that keeps every field's schema and is refused all the same. `EXCLUSIONS` names these:

| operation                | refused with                       | because JSON Schema cannot say  |
|--------------------------|------------------------------------|---------------------------------|
| GET /khqr                | bankCode.bank is not bankCode.id   | that two members are equal      |
| POST /{bankCode}/khqr    | a SUCCESS lacks a field; a status  | what one status requires; 422:  |
|                          | nobody knows; 422                  | the bank says "not paid"        |
| GET /ops lists           | state of another list; page token, | which list a filter is for;     |
|                          | page size above 200; until < since | what an answer gave; an order   |
| POST /ops/replays,       | an empty selection; no reason;     | that one member must be there;  |
| POST /ops/releases       | until < since                      | that a dry run needs no reason  |
| POST .../proposals       | a member of another action         | which member belongs to which   |
| GET by a bill's id       | no whole number                    | (it tries ids of other answers) |

FUZZ_EXAMPLES asks for more than CI does, FUZZ_SEED for others:
`FUZZ_EXAMPLES=500 FUZZ_SEED=7 pytest tests/fuzz`.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.exclusions import EXCLUSIONS, excluded
from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.system import KEY

TREE = Path(__file__).parents[2]
PARTNER = ("payments:inquire", "payments:confirm", "khqr:generate")
OPERATOR = ("operations:read", "operations:act")
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "object_level_authorization",
}
PHASES = {"examples", "coverage", "fuzzing", "stateful"}
CONFIGURATION = """
seed = {seed}
continue-on-failure = true

[dictionaries]
policies = {{values = ["P100000002", "P100000003", "A20250004", "P100000007", "P100000009"]}}
bills = {{values = [150001, 150002, 150003, 150004]}}

[parameters]
"query.query" = {{dictionary = "policies", probability = 0.5}}
"query.billNumber" = {{dictionary = "policies", probability = 0.5}}
"path.id" = {{dictionary = "bills", probability = 0.5}}
"path.billId" = {{dictionary = "bills", probability = 0.5}}

[generation]
max-examples = {examples}
no-shrink = true
database = "none"
"""
NO_PROPOSAL = "POST /ops/proposals/{proposalId}/decision"


@pytest.fixture
async def system(tmp_path: Path, sqlite_url: str) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(
        tmp_path=tmp_path,
        database_url=sqlite_url,
        environ={"INQUIRIES_PER_MINUTE": "1000000"},
    ) as running:
        yield running


async def asked(system: KhqrSystem, folder: Path) -> tuple[Any, str]:
    """Run schemathesis; return its report and all that it said."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(
        CONFIGURATION.format(
            seed=int(os.environ.get("FUZZ_SEED", "20261126")),
            examples=int(os.environ.get("FUZZ_EXAMPLES", "20")),
        )
    )
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "--config-file", str(configuration)),
        *("run", f"{system.base_url}/openapi.json"),
        *("--checks", ",".join(sorted(CHECKS)), "--phases", ",".join(sorted(PHASES))),
        *("--report", "json", "--report-json-path", str(report)),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TREE),
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            "PARTNER_TOKEN": KEY.token(scopes=PARTNER),
            "OPERATOR_TOKEN": KEY.token(sub="operator", scopes=OPERATOR, bank=None),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = said.decode()
    assert report.exists(), text
    return json.loads(report.read_text()), text


@pytest.mark.timeout(7200)
async def test_no_request_whatever_gets_an_answer_outside_the_contract(
    system: KhqrSystem, tmp_path: Path
) -> None:
    await system.get()  # the examples of the contract speak of this bill
    report, said = await asked(system, tmp_path)
    assert report["exit_code"] == 0, said
    assert (report["failures"], report["errors"], report["complete"]) == ([], [], True), said
    document = await system.get("/openapi.json")
    operations = {
        f"{method.upper()} {path}"
        for path, item in document.json["paths"].items()
        for method in item
    }
    assert report["operations"]["tested"] == len(operations), said
    assert {name: phase["status"] for name, phase in report["phases"].items()} == dict.fromkeys(
        PHASES, "success"
    )
    # It got behind the door: every operation did what it is for at least once.
    done = {
        operation
        for operation, phases in report["valid_rates"].items()
        if any(phase["accepted"] for phase in phases.values())
    }
    assert operations - done <= {NO_PROPOSAL}, said


async def test_all_checks_that_schemathesis_has_are_on() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "run", "--help"),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "COLUMNS": "400"},
    )
    said, _ = await process.communicate()
    [listed] = re.findall(r"--checks.*?possible values:(.*?), all\]", said.decode(), re.DOTALL)
    assert {name.strip() for name in listed.split(",")} == CHECKS


@pytest.mark.parametrize(
    ("operation", "status", "details"),
    [
        ("GET /khqr", 500, "bankCode.bank: must be the same as bankCode.id"),
        ("GET /ops/bills", 400, "pageSize: must be at most 200; filter.billId: is odd"),
        ("POST /{bankCode}/payments", 400, "pageSize: must be at most 200"),
        ("GET /ops/bills", 400, ""),
    ],
)
def test_only_what_the_table_names_is_excluded(operation: str, status: int, details: str) -> None:
    assert not excluded(
        check="positive_data_acceptance", operation=operation, status=status, details=details
    )


def test_an_exclusion_is_of_one_check_and_says_why() -> None:
    told = "pageSize: must be at most 200"
    assert excluded(
        check="positive_data_acceptance", operation="GET /ops/bills", status=400, details=told
    )
    assert not excluded(
        check="status_code_conformance", operation="GET /ops/bills", status=400, details=told
    )
    assert all(row.because for row in EXCLUSIONS)
