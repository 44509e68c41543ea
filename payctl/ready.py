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
    operators: tuple[tuple[str, str], ...]  # name and token
    khqr_policy: str | None = None  # another one with a premium due, to be paid by code


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
    by_code = ""
    if ready.khqr_policy is not None:
        show = f'{ask} "{rest}/khqr?bankCode=AMK&billNumber={ready.khqr_policy}"'
        code_id = """$(echo "$CODE" | grep -o '"paymentId":[0-9]*' | cut -d: -f2)"""
        by_code = f"""
# 5. Show a KHQR code for {ready.khqr_policy} (the sandbox page shows it as a picture)
CODE=$({show}); echo "$CODE" | grep -o '"paymentId":[0-9]*'

# 6. Scan and pay it in the bank's app
curl -sS -X POST "{sandbox}/sandbox/khqr/{code_id}/pay" -o /dev/null -w "%{{http_code}}\\n"

# 7. How its bill stands
{ask} "{rest}/AMK/payments/{code_id}"; echo
"""
    people = "".join(f"\n  {name:<6} {token}\n" for name, token in ready.operators)
    return f"""
Ready. Ctrl-C drains and stops everything.

  Sandbox page  {sandbox + "/":<32}  the customer's phone, the bank's back office
  Console       {rest + "/console":<32}  what the insurer's operators see and decide
  API docs      {rest}/docs
  REST          {rest}{also}
  gRPC          {ready.grpc}
  Files, logs   {ready.var}/, {ready.var}/log/
{hint}
The console asks for a token. Take one of these; what one proposes, the other approves:
{people}
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
{by_code}"""
