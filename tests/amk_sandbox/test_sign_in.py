"""Signing in to the bank, and the credentials that it gave."""

import asyncio
import base64
import json
import stat
import sys
from pathlib import Path

import pytest

from amk_sandbox.credentials import GivenCredentials, _kept, open_credentials
from amk_sandbox.settings import read_settings
from chassis.settings import SettingError, Variables
from tests.amk_sandbox.harness import Clock, sandbox
from tests.amk_sandbox.partner import Partner

WRONG = [
    {"username": "somebody"},
    {"password": "else"},
    {"username": "", "password": ""},
    {"password": "ពាក្យ"},
]
UNREADABLE = [b"", b"[]", b'{"username":"a"}', b'{"username":1,"password":"b"}', b"\xff"]
FILES = ("amk-username", "amk-password", "amk-hmac-key")


async def test_the_right_credentials_give_a_token_as_the_specification_says(
    tmp_path: Path,
) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.sign_in()
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert list(answer.json) == ["access_token", "token_type", "expires_in"]
        assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3600)
        first = partner.token
        await partner.sign_in()
        assert partner.token != first
        assert (await client.state())["tokens"] == {"given": 2, "good": 2}


@pytest.mark.parametrize("other", WRONG)
async def test_wrong_credentials_are_401(tmp_path: Path, other: dict[str, str]) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        answer = await partner.sign_in(**other)
        assert (answer.status, answer.json["code"]) == (401, "05")
        assert (await client.state())["tokens"]["given"] == 0
        assert (await client.state())["callCounts"] == {"sign-in": 1}


@pytest.mark.parametrize("body", UNREADABLE)
async def test_what_is_no_question_is_400(tmp_path: Path, body: bytes) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        answer = await Partner(client, Clock(), tmp_path / "keys").ask("/auth/sign-in", body)
        assert (answer.status, answer.json["code"]) == (400, "04")


async def test_a_token_is_good_for_its_lifetime_and_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    async with sandbox(var=tmp_path, clock=clock, SANDBOX_TOKEN_LIFETIME_S="60") as client:
        partner = Partner(client, clock, tmp_path / "keys")
        assert (await partner.sign_in()).json["expires_in"] == 60
        clock.advance(59)
        assert (await partner.generate()).status == 200
        clock.advance(1)
        assert (await partner.generate()).status == 401
        assert (await client.state())["tokens"] == {"given": 1, "good": 0}


async def test_an_operator_revokes_every_token(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        assert (await partner.generate()).status == 200
        assert await client.post("/sandbox/tokens/revoke") == (200, {"revoked": 1})
        assert (await partner.generate()).status == 401
        await partner.sign_in()
        assert (await partner.generate()).status == 200


async def test_a_token_survives_a_restart(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        await partner.sign_in()
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner.client = client
        assert (await partner.generate()).status == 200


def _stored(var: Path) -> str:
    return b"".join(path.read_bytes() for path in var.glob("sandbox.sqlite*")).decode("latin1")


async def test_neither_password_nor_token_nor_key_is_shown_or_stored(tmp_path: Path) -> None:
    async with sandbox(var=tmp_path, clock=Clock()) as client:
        partner = Partner(client, Clock(), tmp_path / "keys")
        await partner.generate()
        form = partner.signed()
        await partner.verify(form)
        shown = json.dumps(await client.state())
    kept = _stored(tmp_path)
    for secret in (partner.token, partner.secret("amk-password"), partner.secret("amk-hmac-key")):
        assert secret not in shown
        assert secret not in kept
    assert form["hash"] not in shown + kept
    assert form["hash"][:8] in shown


def test_credentials_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    given = GivenCredentials(username=None, password=None, hmac_key=None, folder=tmp_path / "keys")
    made = open_credentials(given=given)
    assert open_credentials(given=given) == made
    assert len(base64.b64decode(made.hmac_key, validate=True)) == 64
    assert sorted(path.name for path in given.folder.iterdir()) == sorted(FILES)
    for name in FILES:
        assert stat.S_IMODE((given.folder / name).stat().st_mode) == 0o600
    assert made.password not in repr(made)
    assert made.hmac_key not in repr(made)


def test_given_credentials_are_used_and_none_are_made(tmp_path: Path) -> None:
    environ = {
        "VAR_DIR": str(tmp_path),
        "SANDBOX_USERNAME": "u",
        "SANDBOX_PASSWORD": "p",
        "SANDBOX_HMAC_KEY": "k",
    }
    made = open_credentials(given=read_settings(variables=Variables(environ=environ)).credentials)
    assert (made.username, made.password, made.hmac_key) == ("u", "p", "k")
    assert not (tmp_path / "keys").exists()


def test_credentials_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n")
    environ = {"VAR_DIR": str(tmp_path), "SANDBOX_PASSWORD_FILE": str(tmp_path / "password")}
    given = read_settings(variables=Variables(environ=environ)).credentials
    assert given.password == "from a file"


def test_whoever_made_a_credential_first_is_right(tmp_path: Path) -> None:
    path = tmp_path / "amk-password"

    def make() -> str:
        path.write_text("the other process's\n")
        return "ours"

    assert _kept(path, make) == "the other process's"
    assert [one.name for one in tmp_path.iterdir()] == ["amk-password"]


MAKE = """
import sys
from pathlib import Path
from amk_sandbox.credentials import GivenCredentials, open_credentials
given = GivenCredentials(username=None, password=None, hmac_key=None, folder=Path(sys.argv[1]))
sys.stdin.readline()
made = open_credentials(given=given)
print(made.username, made.password, made.hmac_key)
"""


async def test_processes_that_start_at_once_get_the_same_credentials(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAKE, str(tmp_path / "keys"), stdin=pipe, stdout=pipe
        )
        for _ in range(4)
    ]
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert len({answer for answer, _ in answers}) == 1
    assert len(answers[0][0].split()) == 3


BAD = [
    ({"SANDBOX_SIGNING_STYLE": "xml"}, "SANDBOX_SIGNING_STYLE"),
    ({"SANDBOX_SIGNING_FIELDS": "merchantId,hash"}, "SANDBOX_SIGNING_FIELDS"),
    ({"SANDBOX_SIGNING_OUTPUT": "Hex"}, "SANDBOX_SIGNING_OUTPUT"),
    ({"SANDBOX_SIGNING_KEY_ENCODING": "base64", "SANDBOX_HMAC_KEY": "%"}, "SANDBOX_HMAC_KEY"),
    ({"SANDBOX_TOKEN_LIFETIME_S": "0"}, "SANDBOX_TOKEN_LIFETIME_S"),
    ({"SANDBOX_QR_FORM": "gif"}, "SANDBOX_QR_FORM"),
]


@pytest.mark.parametrize(("environ", "name"), BAD)
def test_a_wrong_setting_of_the_bank_is_named(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_settings(variables=Variables(environ=environ))
