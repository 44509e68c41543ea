"""Keys on disk and the tokens they sign, as the services will read them."""

import base64
import hashlib
import json
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from chassis.auth import Authenticator, TokenRefused, read_keys
from payctl.keys import KeysUnusable, ensure_keys, mint, published_ids, rotate_keys, write_token

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _token(folder: Path, *, now: datetime = NOW, bank: str | None = "AMK") -> str:
    return mint(
        key=ensure_keys(folder=folder),
        subject="tester",
        scopes=("payments:inquire", "payments:confirm"),
        bank=bank,
        issuer="payment-gateway",
        audience="payment-gateway",
        now=now,
        lifetime=HOUR,
    )


def _authenticator(folder: Path) -> Authenticator:
    return Authenticator(
        keys=read_keys(folder / "jwks.json"),
        issuer="payment-gateway",
        audience="payment-gateway",
    )


def test_a_minted_token_names_its_caller(tmp_path: Path) -> None:
    token = _token(tmp_path)
    caller = _authenticator(tmp_path).authenticate(token=token, now=NOW)
    assert caller.subject == "tester"
    assert caller.scopes == {"payments:inquire", "payments:confirm"}
    assert caller.bank == "AMK"
    assert caller.expires_at_s == int((NOW + HOUR).timestamp())
    assert jwt.get_unverified_header(token)["alg"] == "ES256"


def test_a_token_without_a_bank_is_bound_to_none(tmp_path: Path) -> None:
    token = _token(tmp_path, bank=None)
    assert _authenticator(tmp_path).authenticate(token=token, now=NOW).bank is None


def test_a_token_ends_with_its_lifetime(tmp_path: Path) -> None:
    token = _token(tmp_path)
    with pytest.raises(TokenRefused, match="expired"):
        _authenticator(tmp_path).authenticate(token=token, now=NOW + 2 * HOUR)


def test_a_second_start_uses_the_same_key(tmp_path: Path) -> None:
    first, second = ensure_keys(folder=tmp_path), ensure_keys(folder=tmp_path)
    assert first.key_id == second.key_id
    assert published_ids(path=tmp_path / "jwks.json") == [first.key_id]


def test_a_rotation_keeps_tokens_of_the_key_before_good(tmp_path: Path) -> None:
    old = _token(tmp_path)
    rotate_keys(folder=tmp_path)
    new = _token(tmp_path)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    for token in (old, new):
        assert _authenticator(tmp_path).authenticate(token=token, now=NOW).subject == "tester"


def test_a_second_rotation_ends_the_oldest_key(tmp_path: Path) -> None:
    oldest = _token(tmp_path)
    rotate_keys(folder=tmp_path)
    rotate_keys(folder=tmp_path)
    with pytest.raises(TokenRefused, match="no key of ours"):
        _authenticator(tmp_path).authenticate(token=oldest, now=NOW)


def test_the_private_key_is_its_owners_alone_and_the_public_file_holds_no_secret(
    tmp_path: Path,
) -> None:
    ensure_keys(folder=tmp_path)
    assert stat.S_IMODE((tmp_path / "signing.pem").stat().st_mode) == 0o600
    (entry,) = json.loads((tmp_path / "jwks.json").read_text())["keys"]
    assert set(entry) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (entry["alg"], entry["use"]) == ("ES256", "sig")


def test_the_key_id_is_the_rfc_7638_thumbprint(tmp_path: Path) -> None:
    key = ensure_keys(folder=tmp_path)
    (entry,) = json.loads((tmp_path / "jwks.json").read_text())["keys"]
    text = f'{{"crv":"P-256","kty":"EC","x":"{entry["x"]}","y":"{entry["y"]}"}}'
    digest = hashlib.sha256(text.encode()).digest()
    assert key.key_id == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_starts_at_the_same_moment_get_one_key(tmp_path: Path) -> None:
    ready = threading.Barrier(8)

    def start(_: int) -> str:
        ready.wait(timeout=20)
        return ensure_keys(folder=tmp_path).key_id  # its lock is per open file, as of processes

    with ThreadPoolExecutor(max_workers=8) as pool:
        ids = list(pool.map(start, range(8)))
    assert len(set(ids)) == 1
    assert published_ids(path=tmp_path / "jwks.json") == ids[:1]


def test_a_lost_public_file_is_written_again(tmp_path: Path) -> None:
    token = _token(tmp_path)
    (tmp_path / "jwks.json").unlink()
    ensure_keys(folder=tmp_path)
    assert _authenticator(tmp_path).authenticate(token=token, now=NOW).subject == "tester"


@pytest.mark.parametrize("name", ["signing.pem", "jwks.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    ensure_keys(folder=tmp_path)
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(KeysUnusable, match=name):
        ensure_keys(folder=tmp_path)


def test_a_token_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sandbox.token"
    write_token(path=path, token="abc")
    assert path.read_text() == "abc\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _payctl(var: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # our own program
        [sys.executable, "-m", "payctl", *arguments],
        env={"VAR_DIR": str(var), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_prints_a_good_token_and_nothing_else(tmp_path: Path) -> None:
    run = _payctl(tmp_path, "token", "--subject", "ops", "--scope", "payments:inquire")
    assert run.returncode == 0, run.stderr
    token = run.stdout.removesuffix("\n")
    now = datetime.now(tz=UTC)
    caller = _authenticator(tmp_path / "keys").authenticate(token=token, now=now)
    assert (caller.subject, caller.scopes) == ("ops", frozenset({"payments:inquire"}))
    assert caller.bank == "AMK"


def test_the_command_rotates_on_demand(tmp_path: Path) -> None:
    first = _payctl(tmp_path, "token").stdout.strip()
    second = _payctl(tmp_path, "token", "--new-key").stdout.strip()
    for token in (first, second):
        _authenticator(tmp_path / "keys").authenticate(token=token, now=datetime.now(tz=UTC))
    assert len(published_ids(path=tmp_path / "keys" / "jwks.json")) == 2


def test_production_is_refused_in_one_line(tmp_path: Path) -> None:
    run = _payctl(tmp_path, "token", ENVIRONMENT="production")
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert "ENVIRONMENT" in run.stderr
    assert not (tmp_path / "keys").exists()


def test_a_token_and_a_rotation_are_json_where_that_is_asked(tmp_path: Path) -> None:
    run = _payctl(
        tmp_path,
        *("token", "--json", "--subject", "dara", "--bank", ""),
        *("--scope", "operations:read", "--scope", "operations:act"),
    )
    said = json.loads(run.stdout)
    claims = jwt.decode(said["token"], options={"verify_signature": False})
    assert (claims["sub"], claims["scope"]) == ("dara", "operations:read operations:act")
    assert "bank" not in claims
    assert (said["subject"], said["bank"]) == ("dara", None)
    assert datetime.fromisoformat(said["expiresAt"]).timestamp() == claims["exp"]
    rotated = json.loads(_payctl(tmp_path, "rotate", "--json").stdout)
    assert rotated["keyId"] in (tmp_path / "keys" / "jwks.json").read_text()
