"""What `payctl up` prints when everything is healthy: addresses and commands to copy."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What the page tells: where everything is, a token, and a policy with a premium due."""

    rest: tuple[str, ...]
    grpc: str
    sandbox: str
    var: Path
    token: str
    policy: str
    policy_is_due: bool


def ready_page(*, ready: Ready) -> str:
    """Return the page; its commands work as they stand, in any order of starts."""
    rest = f"http://{ready.rest[0]}"
    also = "".join(f"  (and http://{address})" for address in ready.rest[1:])
    sandbox = f"http://{ready.sandbox}"
    ask = 'curl -sS -H "Authorization: Bearer $TOKEN"'
    inquire = f'{ask} "{rest}/AMK/payments?query={ready.policy}"'
    bill_id = """$(echo "$BILL" | grep -o '"id":[0-9]*' | cut -d: -f2)"""
    hint = (
        ""
        if ready.policy_is_due
        else f'\nEverything is paid: choose "Make due" beside {ready.policy} on the page first.\n'
    )
    return f"""
Ready. Ctrl-C drains and stops everything.

  API docs      {rest}/docs
  Sandbox page  {sandbox}/
  REST          {rest}{also}
  gRPC          {ready.grpc}
  Files, logs   {ready.var}/, {ready.var}/log/
{hint}
Copy these lines into another terminal:

export TOKEN={ready.token}

# 1. What is due on {ready.policy}?
BILL=$({inquire}); echo "$BILL"

# 2. Pay that bill in the bank's app (or on the sandbox page)
curl -sS -X POST "{sandbox}/sandbox/pay?query={ready.policy}"; echo

# 3. Ask again: nothing is due
{inquire}; echo

# 4. How the bill stands
{ask} "{rest}/AMK/payments/{bill_id}"; echo
"""
