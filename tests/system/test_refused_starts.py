"""A start that is refused says which setting is wrong, in one line that quotes none.

Each program is started on settings that are wrong in one way, with canaries where a person may
have put a secret: into the setting itself, into the one beside it, into a file that it names.
The exit code is 2. The line starts with the program's name.
"""

import json
from pathlib import Path

import pytest

from tests.support.canaries import Canaries
from tests.support.programs import refused
from tests.support.tokens import SigningKey, write_jwks

KEY = SigningKey(key_id="test")
BANKS = """
[AMK]
currencies = ["USD"]
base_url = "http://127.0.0.1:9"
merchant_id = "9"
store_id = "8"
terminal_id = "7"
[AMK.sign_in]
username = "env:AMK_USERNAME"
password = "env:AMK_PASSWORD"
[AMK.qr]
[AMK.verify]
[AMK.signing]
key = "env:AMK_HMAC_KEY"
"""
GATEWAY, KHQR, BRIDGE = "gateway_svc", "khqr_svc", "rest_bridge"
# program, variables, files under VAR_DIR, what the line names; CANARY is replaced
WRONG: list[tuple[str, dict[str, str], dict[str, str], str]] = [
    (GATEWAY, {"LOG_LEVEL": "CANARY"}, {}, "LOG_LEVEL"),
    (KHQR, {"ENVIRONMENT": "CANARY"}, {}, "ENVIRONMENT"),
    (BRIDGE, {"BRIDGE_LISTEN": "CANARY"}, {}, "BRIDGE_LISTEN"),
    (BRIDGE, {"BRIDGE_LISTEN": "CANARY:99999"}, {}, "BRIDGE_LISTEN"),
    (BRIDGE, {"GATEWAY_TARGET": "a CANARY"}, {}, "GATEWAY_TARGET"),
    (GATEWAY, {"DATABASE_URL": "CANARY"}, {}, "DATABASE_URL"),
    (GATEWAY, {"DATABASE_URL": "postgresql+asyncpg://u:CANARY@127.0.0.1:x/p"}, {}, "DATABASE_URL"),
    (GATEWAY, {"DATABASE_URL": "postgresql+asyncpg://u:CANARY@127.0.0.1:1"}, {}, "DATABASE_URL"),
    (GATEWAY, {"DATABASE_URL": "postgresql+asyncpg://u:CANARY@127.0.0.1:1/p"}, {}, "postgresql"),
    (
        GATEWAY,
        {"DATABASE_URL": "postgresql+asyncpg://127.0.0.1:1/p?user=u&password=CANARY"},
        {},
        "postgresql",
    ),
    (GATEWAY, {"EVENTS_URL": "kafka://u:CANARY@127.0.0.1:9"}, {}, "EVENTS_URL"),
    (GATEWAY, {"KAFKA_SASL_MECHANISM": "CANARY"}, {}, "KAFKA_SASL_MECHANISM"),
    (GATEWAY, {"KAFKA_SASL_PASSWORD": "CANARY", "TOPIC_PREFIX": "a CANARY"}, {}, "TOPIC_PREFIX"),
    (GATEWAY, {"INTEGRATION_URL": "ftp://u:CANARY@h"}, {}, "INTEGRATION_URL"),
    (GATEWAY, {"INQUIRIES_PER_MINUTE": "CANARY"}, {}, "INQUIRIES_PER_MINUTE"),
    (GATEWAY, {"GATEWAY_LISTEN": "CANARY:"}, {}, "GATEWAY_LISTEN"),
    (GATEWAY, {}, {"jwks.json": '{"keys": [{"d": "CANARY", "kty": "oct"}]}'}, "jwks.json"),
    (GATEWAY, {}, {"jwks.json": "CANARY"}, "jwks.json"),
    (GATEWAY, {}, {"banks.toml": BANKS.replace("env:AMK_HMAC_KEY", "CANARY")}, "AMK.signing.key"),
    (
        GATEWAY,
        {},
        {"banks.toml": BANKS.replace("env:AMK_HMAC_KEY", "enc:v1:CANARY")},
        "AMK.signing.key",
    ),
    (GATEWAY, {}, {"banks.toml": BANKS + 'x = "CANARY'}, "BANKS_FILE"),
    (GATEWAY, {}, {"banks.toml": BANKS.replace("9", "CANARY CANARY")}, "AMK."),
    (KHQR, {}, {"banks.toml": BANKS.replace("env:AMK_PASSWORD", "CANARY")}, "AMK.sign_in.password"),
    (
        KHQR,
        {},
        {"banks.toml": BANKS.replace("env:AMK_USERNAME", "enc:v9:CANARY")},
        "AMK.sign_in.username",
    ),
    (KHQR, {"AMK_BASE_URL": "ftp://u:CANARY@h"}, {}, "AMK_BASE_URL"),
    (KHQR, {}, {"khqr.token": "CANARY CANARY"}, "GATEWAY_TOKEN_FILE"),
    (KHQR, {"GATEWAY_TOKEN_FILE": "/dev/null"}, {}, "GATEWAY_TOKEN_FILE"),
    (GATEWAY, {}, {".env": "CANARY"}, ".env"),
]


@pytest.mark.parametrize(
    ("module", "environ", "files", "named"), WRONG, ids=[str(n) for n in range(len(WRONG))]
)
async def test_a_wrong_setting_is_refused_in_one_line_that_quotes_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    environ: dict[str, str],
    files: dict[str, str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    fed = Canaries()
    write_jwks(tmp_path / "jwks.json", KEY)
    for name, text in ({"banks.toml": BANKS, "khqr.token": KEY.token()} | files).items():
        (tmp_path / name).write_text(text.replace("CANARY", fed(named)))
    house = {
        "VAR_DIR": str(tmp_path),
        "BANKS_FILE": str(tmp_path / "banks.toml"),
        "JWT_KEYS_FILE": str(tmp_path / "jwks.json"),
        "GATEWAY_TOKEN_FILE": str(tmp_path / "khqr.token"),
        "AMK_USERNAME": fed("username"),
        "AMK_PASSWORD": fed("password"),
        "AMK_HMAC_KEY": fed("hmac-key"),
        "LOG_LEVEL": "DEBUG",
    } | {name: value.replace("CANARY", fed(named)) for name, value in environ.items()}
    code, said = await refused(module=module, environ=house, folder=tmp_path, name="start")
    # At DEBUG, what libraries say on the way is JSON; the refusal is the one other line.
    [line] = [one for one in said.splitlines() if not is_json(one)]
    assert code == 2, said
    assert named in line
    assert line.startswith(module.removesuffix("_svc"))
    assert not fed.found_in(said), said


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
