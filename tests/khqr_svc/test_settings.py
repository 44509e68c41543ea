"""What the KHQR service refuses to start with, each in one clear line.

| where      | refused                                                                     |
|------------|-----------------------------------------------------------------------------|
| anywhere   | a wrong member of the banks' file; a secret in place; a disclosed credential |
| production | no banks' file; no gateway; plain http without a reason; an example password |
"""

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from chassis.money import Currency
from chassis.settings import SettingError, Variables
from khqr_svc import settings as module
from khqr_svc.banks.factory import KhqrServiceFactory
from khqr_svc.settings import KhqrSettings, read_settings
from tests.khqr_svc.fakes import fake_gateway
from tests.khqr_svc.stage import KEY, OWN_TOKEN, until
from tests.support.tokens import write_jwks

BANK = """
[AMK]
currencies = ["USD"]
base_url = "https://bank.example/"
merchant_id = "900000000290002"
[AMK.sign_in]
username = "env:AMK_USERNAME"
password = "env:AMK_PASSWORD"
[AMK.qr]
check = ["merchant"]
"""
LEAKED = "a pass phrase that everybody knows"


def read(folder: Path, banks: str = BANK, **environ: str) -> KhqrSettings:
    file = folder / "banks.toml"
    file.write_text(banks, encoding="utf-8")
    merged = {
        "BANKS_FILE": str(file),
        "AMK_USERNAME": "insurer",
        "AMK_PASSWORD": "correct-horse",
        "VAR_DIR": str(folder),
        "GATEWAY_TARGET": "gateway:50051",
    } | environ
    return read_settings(variables=Variables(environ=merged), environ=merged)


def test_a_laptop_needs_no_variable_but_the_banks_secrets(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("amk-username", "amk-password"):
        (tmp_path / "keys" / name).write_text("dummy\n", encoding="utf-8")
    environ = {"VAR_DIR": str(tmp_path)}
    settings = read_settings(variables=Variables(environ=environ), environ=environ)
    assert (str(settings.listen), settings.gateway_target) == ("127.0.0.1:50052", "127.0.0.1:50051")
    assert settings.gateway_token_file == tmp_path / "keys" / "khqr.token"
    bank = settings.banks["AMK"]
    assert bank.currencies == {Currency.USD, Currency.KHR}
    assert bank.qr is not None
    assert bank.qr.checks == {"merchant", "bill_number"}
    assert bank.qr.username.read() == "dummy"


def test_the_file_states_the_bank(tmp_path: Path) -> None:
    qr = read(tmp_path).banks["AMK"].qr
    assert qr is not None
    assert (qr.base_url, qr.account.merchant_id) == ("https://bank.example", "900000000290002")
    assert (qr.sign_in_path, qr.qr_path) == ("/auth/sign-in", "/qr/generator")
    moved = read(tmp_path, AMK_BASE_URL="http://127.0.0.1:9").banks["AMK"].qr
    assert moved is not None
    assert moved.base_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('["USD"]', "[]", "AMK.currencies"),
        ('["USD"]', '["THB"]', "AMK.currencies"),
        ('["USD"]', '[["USD"]]', "AMK.currencies"),
        ('"https://bank.example/"', '"ftp://bank.example"', "AMK_BASE_URL"),
        ('base_url = "https://bank.example/"', "", "AMK_BASE_URL"),
        ('"900000000290002"', "900000000290002", "AMK.merchant_id: must be text"),
        ('"900000000290002"', '""', "AMK.merchant_id"),
        ('"900000000290002"', '"a b"', "AMK.merchant_id"),
        ('["merchant"]', '["colour"]', "AMK.qr.check: must list some of bill_number"),
        ('["merchant"]', '"merchant"', "AMK.qr.check"),
        ("check =", 'path = "no-slash"\ncheck =', "AMK.qr.path"),
        ("[AMK]", "[amk]", "amk: a bank's code"),
        ("[AMK]", "[AMK]\nenabled = 1", "AMK: must be a table"),
        ("[AMK]", "[AMK]\nenabled = false", "no bank is enabled"),
        ('"env:AMK_USERNAME"', "1", "AMK.sign_in.username: must be env:NAME, file:PATH"),
        ('username = "env:AMK_USERNAME"', "", "AMK.sign_in.username: must be env"),
        ('"env:AMK_PASSWORD"', '"hunter2"', "AMK.sign_in.password: must be env"),
        ('"env:AMK_PASSWORD"', '"enc:v1:abcd"', "AMK.sign_in.password: CONFIG_KEY_FILE: is req"),
        ('"env:AMK_PASSWORD"', '"env:NOBODY_SET_IT"', "AMK.sign_in.password: .* empty"),
        ('"env:AMK_PASSWORD"', '"file:absent"', "AMK.sign_in.password: .*absent"),
        ("[AMK.sign_in]", "[AMK.other]", "AMK.sign_in: must be a table"),
        ("[AMK.qr]", "[AMK.qr", "is not TOML"),
    ],
)
def test_a_wrong_member_is_refused_by_its_name(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in BANK
    with pytest.raises(SettingError, match=named) as caught:
        read(tmp_path, BANK.replace(old, new))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bank_without_an_account_or_for_others_alone_is_no_mistake(tmp_path: Path) -> None:
    banks = '[ABC]\ncurrencies = ["KHR"]\n[ABC.verify]\npath = 1\n[OFF]\nenabled = false\n'
    found = read(tmp_path, banks).banks
    assert set(found) == {"ABC"}
    assert found["ABC"].qr is None


@pytest.mark.parametrize(
    ("banks", "environ", "named"),
    [
        (BANK, {"ANYTHING": LEAKED}, "ANYTHING"),
        (BANK, {"AMK_PASSWORD": LEAKED}, "AMK_PASSWORD"),
        (BANK.replace("env:AMK_PASSWORD", "file:leaked"), {}, "AMK.sign_in.password"),
        (BANK + f'\n[AMK.verify]\nkey = "{LEAKED}"\n', {}, "BANKS_FILE"),
        (BANK, {"SOME_FILE": "leaked"}, "SOME_FILE"),
    ],
)
def test_a_disclosed_credential_is_refused_wherever_it_stands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    banks: str,
    environ: dict[str, str],
    named: str,
) -> None:
    digest = hashlib.sha256(LEAKED.encode()).hexdigest()
    monkeypatch.setattr(module, "_DISCLOSED", module._DISCLOSED | {digest})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaked").write_text(f"{LEAKED}\n", encoding="utf-8")
    with pytest.raises(SettingError, match=f"{named}: .*disclosed") as caught:
        read(tmp_path, banks, **environ)
    assert LEAKED not in str(caught.value)


PLAIN = BANK.replace("https:", "http:")


@pytest.mark.parametrize(
    ("banks", "environ", "named"),
    [
        (PLAIN, {}, "AMK.base_url: production needs https"),
        (PLAIN.replace("[AMK]", '[AMK]\nallow_plain_http = " "'), {}, "production needs https"),
        (BANK, {"AMK_BASE_URL": "http://bank.example"}, "production needs https"),
        (BANK, {"AMK_PASSWORD": "changeme"}, "AMK.sign_in.password: is an example"),
        (BANK, {"BANKS_FILE": ""}, "BANKS_FILE: is required"),
        (BANK, {"GATEWAY_TARGET": ""}, "GATEWAY_TARGET: is required"),
        (BANK, {}, "GATEWAY_TARGET: production speaks TLS beyond this machine"),
        (
            BANK,
            {"GATEWAY_TARGET": "localhost:1", "KHQR_LISTEN": "0.0.0.0:1"},
            "KHQR_LISTEN: production speaks TLS",
        ),
    ],
)
def test_production_refuses(
    tmp_path: Path, banks: str, environ: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        read(tmp_path, banks, ENVIRONMENT="production", **environ)


@pytest.mark.parametrize(
    "banks", [BANK, PLAIN.replace("[AMK]", '[AMK]\nallow_plain_http = "a private line"')]
)
def test_production_starts_with_what_production_needs(tmp_path: Path, banks: str) -> None:
    environ = {"ENVIRONMENT": "production", "ALLOW_PLAINTEXT_GRPC": "the mesh encrypts"}
    assert read(tmp_path, banks, **environ).production


def environ_of(folder: Path, **more: str) -> dict[str, str]:
    (folder / "banks.toml").write_text(BANK, encoding="utf-8")
    (folder / "token").write_text(OWN_TOKEN, encoding="utf-8")
    return {
        "PATH": os.environ["PATH"],
        "BANKS_FILE": str(folder / "banks.toml"),
        "AMK_USERNAME": "insurer",
        "AMK_PASSWORD": "correct-horse",
        "VAR_DIR": str(folder),
        "KHQR_LISTEN": "127.0.0.1:0",
        "GATEWAY_TOKEN_FILE": str(folder / "token"),
        "JWT_KEYS_FILE": str(write_jwks(folder / "jwks.json", KEY)),
    } | more


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"KHQR_LISTEN": "nowhere"}, "KHQR_LISTEN: must be host:port"),
        ({"GATEWAY_TOKEN_FILE": "/no/such/token"}, "GATEWAY_TOKEN_FILE: /no/such/token"),
        ({"JWT_KEYS_FILE": "/no/such/keys"}, "/no/such/keys"),
    ],
)
def test_the_program_refuses_with_one_line_and_exit_code_2(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "khqr_svc"],
        env=environ_of(tmp_path, **change),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("khqr: ")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


async def test_the_program_listens_says_where_and_stops_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with fake_gateway() as (_, target):
        with log.open("w") as lines:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "khqr_svc",
                env=environ_of(tmp_path, GATEWAY_TARGET=target),
                stderr=lines,
            )
        try:
            await until(lambda: '"listening"' in log.read_text(), within_s=30)
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    assert '"addresses": ["127.0.0.1:' in log.read_text()


def test_a_bank_that_speaks_what_nobody_here_does_is_refused(tmp_path: Path) -> None:
    banks = read(tmp_path, BANK.replace("[AMK]", '[AMK]\ndialect = "ABA"')).banks
    with pytest.raises(SettingError, match=r"AMK.dialect: must be one of XYZ"):
        KhqrServiceFactory(settings=banks, around=Mock(), dialects={"XYZ": Mock()})
