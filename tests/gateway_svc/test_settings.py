"""What the gateway refuses to start with, each in one clear line.

| where      | refused                                                                  |
|------------|--------------------------------------------------------------------------|
| anywhere   | a wrong value; a disclosed credential, in a variable, a file or the banks |
| production | SQLite, log://, an example password, no banks, no Integration Service    |
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.sealed import key_line, seal
from chassis.settings import SettingError, Variables
from gateway_svc import settings as module
from gateway_svc.settings import GatewaySettings, read_settings
from tests.support.gateway import BANK_KEY, write_bank_key
from tests.support.tokens import SigningKey, write_jwks

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql+asyncpg://gateway:correct-horse@db/payments",
    "EVENTS_URL": "kafka://kafka:9092",
    "INTEGRATION_URL": "https://integration.insurer.example",
    "BANKS_FILE": str(Path(module.__file__).parent / "banks" / "laptop.toml"),
}
VERIFY = '[AMK]\ncurrencies = ["USD"]\nmerchant_id = "1"\nstore_id = "2"\nterminal_id = "3"\n'
SIGNED = VERIFY + '[AMK.verify]\nurl = "http://x"\n[AMK.signing]\n'


@pytest.fixture(autouse=True)
def var_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder whose `var` holds the bank's key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    write_bank_key(tmp_path / "var")
    return tmp_path / "var"


def read(environ: dict[str, str]) -> GatewaySettings:
    return read_settings(variables=Variables(environ=environ), environ=environ)


def test_a_laptop_needs_no_variable() -> None:
    settings = read({})
    assert settings.database_url == "sqlite+aiosqlite:///var/gateway.sqlite"
    assert settings.events_url == "log://"
    assert str(settings.listen) == "127.0.0.1:50051"
    assert set(settings.banks) == {"AMK"}


def test_production_starts_with_what_production_needs() -> None:
    assert read(PRODUCTION).production


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DATABASE_URL": "sqlite+aiosqlite:///x.sqlite"}, "DATABASE_URL: .*PostgreSQL"),
        ({"DATABASE_URL": ""}, "DATABASE_URL: .*PostgreSQL"),
        ({"EVENTS_URL": "log://"}, "EVENTS_URL: .*kafka"),
        ({"DATABASE_URL": "postgresql+asyncpg://g:changeme@db/p"}, "DATABASE_URL: .*example"),
        ({"BANKS_FILE": ""}, "BANKS_FILE: is required"),
        ({"INTEGRATION_URL": ""}, "INTEGRATION_URL: is required"),
        ({"GATEWAY_LISTEN": "0.0.0.0:50051"}, "GATEWAY_LISTEN: production speaks TLS"),
        ({"GATEWAY_TLS_CERTIFICATE_PATH": "x.pem"}, "GATEWAY_TLS_KEY_PATH: is required"),
        ({"CRASH_POINTS_DIR": "points"}, "CRASH_POINTS_DIR: is for drills"),
    ],
)
def test_production_refuses(change: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        read(PRODUCTION | change)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"ENVIRONMENT": "prod"}, "ENVIRONMENT: must be one of development, production"),
        ({"GATEWAY_LISTEN": "50051"}, "GATEWAY_LISTEN: must be host:port"),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL: must be a URL that starts with"),
        ({"EVENTS_URL": "amqp://h"}, "EVENTS_URL: "),
        ({"INTEGRATION_URL": "ftp://h"}, "INTEGRATION_URL: "),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: "),
        ({"DATABASE_URL": "postgresql+asyncpg://h"}, "DATABASE_URL: a database URL names"),
        ({"EVENTS_URL": "kafka://user:pw@h:1"}, "EVENTS_URL: events go to"),
        ({"TOPIC_PREFIX": "a b"}, "TOPIC_PREFIX: "),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: "),
        ({"KAFKA_CA_PATH": "nowhere.pem"}, "KAFKA_CA_PATH: nowhere.pem: No such file"),
        ({"KAFKA_KEY_PATH": "var"}, "KAFKA_KEY_PATH: var: Is a directory"),
        ({"BANKS_FILE": "nowhere.toml"}, "BANKS_FILE: nowhere.toml: No such file"),
    ],
)
def test_a_wrong_value_is_refused_by_name(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        read(environ)


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("AMK = 1", "AMK: must be a table"),
        ("[AMK", "is not TOML"),
        ("[AMK]", r"AMK\.currencies: must list"),
        ('[AMK]\ncurrencies = ["EUR"]', "unknown: 'EUR'"),
        ('[AMK]\ncurrencies = [["USD"]]', r"unknown: \['USD'\]"),
        ('[AMK]\ncurrencies = ["USD"]\nenabled = "no"', "`enabled` true or false"),
        ('[AMK]\ncurrencies = ["USD"]\nenabled = false', "no bank is enabled"),
        ('[AMK]\ncurrencies = ["USD"]\nmerchant_id = 9', r"AMK\.merchant_id: must be text"),
        ('[AMK]\ncurrencies = ["USD"]\nmerchant_id = "9"', r"AMK\.store_id: must be text"),
        (VERIFY + '[AMK.verify]\nurl = "ftp://x"', r"AMK\.verify\.url: must start with"),
        (VERIFY + '[AMK.verify]\nurl = "http://x"', r"AMK\.signing\.key: must be env:"),
        (SIGNED + 'key = "a secret in place"', r"AMK\.signing\.key: must be env:"),
        (SIGNED + 'key = "env:NOWHERE"', r"AMK\.signing\.key: the secret it names is empty"),
        (SIGNED + 'key = "file:nowhere"', r"AMK\.signing\.key: var/nowhere: No such file"),
        (SIGNED + 'key = "file:keys/amk-hmac-key"\nstyle = "x"', r"AMK\.signing\.style"),
        (SIGNED + 'key = "file:keys/amk-hmac-key"\n[AMK.verify]', "is not TOML"),
        ('[AMK]\ncurrencies = ["USD"]\nverify_bill_payments = true', "not supported yet"),
        ('[amk]\ncurrencies = ["USD"]', r"amk: a bank's code is"),
    ],
)
def test_a_wrong_bank_is_refused_by_name(tmp_path: Path, toml: str, named: str) -> None:
    path = tmp_path / "banks.toml"
    path.write_text(toml)
    with pytest.raises(SettingError, match=named):
        read({"BANKS_FILE": str(path)})


def test_production_asks_no_bank_over_plain_http_without_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "banks.toml"
    for line, accepted in (("", False), ('allow_plain_http = "a tunnel"\n', True)):
        path.write_text(
            VERIFY
            + line
            + '[AMK.verify]\nurl = "http://x"\n[AMK.signing]\nkey = "file:keys/amk-hmac-key"\n'
        )
        if accepted:
            assert read(PRODUCTION | {"BANKS_FILE": str(path)}).banks["AMK"].verify
        else:
            with pytest.raises(SettingError, match="asks over plain http"):
                read(PRODUCTION | {"BANKS_FILE": str(path)})


def test_a_banks_key_is_in_no_repr() -> None:
    assert BANK_KEY not in repr(read({}))


def test_a_disclosed_credential_is_refused_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The two real ones are known by their SHA-256 alone, so a third stands in for them."""
    stand_in = "a credential everybody has read"
    monkeypatch.setattr(
        module, "_DISCLOSED", frozenset({hashlib.sha256(stand_in.encode()).hexdigest()})
    )
    secret = tmp_path / "secret"
    secret.write_text(stand_in + "\n")
    banks = tmp_path / "banks.toml"
    banks.write_text(f'[AMK]\ncurrencies = ["USD"]\n[AMK.sign_in]\npassword = "{stand_in}"\n')
    key = bytes(range(32))
    (tmp_path / "config.key").write_text(key_line(key=key))
    sealed = tmp_path / "sealed.toml"
    place = seal(text=stand_in, name="AMK.signing.key", key=key, nonce=bytes(12))
    sealed.write_text(SIGNED + f'key = "{place}"')
    variable = seal(text=stand_in, name="KAFKA_SASL_PASSWORD", key=key, nonce=bytes(12))
    opened_by = {"CONFIG_KEY_FILE": "config.key"}
    for environ, named in (
        ({"BANKS_FILE": str(sealed)} | opened_by, "AMK.signing.key"),
        ({"KAFKA_SASL_PASSWORD": variable} | opened_by, "KAFKA_SASL_PASSWORD"),
        ({"AMK_PASSWORD": stand_in}, "AMK_PASSWORD"),
        ({"AMK_PASSWORD_FILE": str(secret)}, "AMK_PASSWORD_FILE"),
        ({"BANKS_FILE": str(banks)}, "BANKS_FILE"),
    ):
        with pytest.raises(SettingError, match=f"{named}: holds a credential") as refusal:
            read(environ)
        assert stand_in not in str(refusal.value)


def test_the_disclosed_credentials_are_the_specifications_two() -> None:
    assert {digest[:8] for digest in module._DISCLOSED} == {"1b960cc3", "a048310b"}


def started(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "gateway_svc"],
        cwd=tmp_path,
        env=base | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"GATEWAY_LISTEN": "nowhere"}, "gateway: GATEWAY_LISTEN: must be host:port"),
        ({"JWT_KEYS_FILE": "missing.json"}, "gateway: missing.json: No such file"),
        ({"DATABASE_URL": "postgresql+asyncpg://g:pw@127.0.0.1:1/p"}, "gateway: postgresql"),
    ],
)
def test_the_program_refuses_in_one_line_and_exits_with_2(
    tmp_path: Path, environ: dict[str, str], line: str
) -> None:
    keys = write_jwks(tmp_path / "jwks.json", SigningKey(key_id="k"))
    result = started(tmp_path, **({"JWT_KEYS_FILE": str(keys)} | environ))
    assert result.returncode == 2
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1
    assert "pw" not in result.stderr.replace("***", "")
