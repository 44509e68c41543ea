"""A signing key is rotated while the services run: no restart, no refused token on the way.

| the key file                     | gateway and KHQR service                          |
|----------------------------------|---------------------------------------------------|
| gets a second key                | take tokens of both                               |
| loses the first                  | refuse its tokens                                 |
"""

from pathlib import Path

import pytest

from tests.support.khqr_system import ALL_SCOPES, KhqrSystem, running_khqr_system
from tests.support.system import INQUIRY, KEY
from tests.support.tokens import SigningKey, write_jwks

NEW = SigningKey(key_id="new")
CODE = "/khqr?bankCode=AMK&billNumber=P123456789"


async def taken(system: KhqrSystem, key: SigningKey, path: str) -> bool:
    """Tell whether a token of `key` is good for a call."""
    token = key.token(scopes=ALL_SCOPES)
    answer = await system.call("GET", path, Authorization=f"Bearer {token}")
    # A refused token of the KHQR service's own would be a 500.
    assert answer.status in (200, 401), answer.body
    return answer.status == 200


async def test_a_key_is_rotated_without_a_restart(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.auth._LOOK_EVERY_S", 0.0)
    jwks = tmp_path / "jwks.json"
    async with running_khqr_system(tmp_path=tmp_path, database_url=sqlite_url) as system:
        for path in (INQUIRY, CODE):
            assert (await taken(system, KEY, path), await taken(system, NEW, path)) == (True, False)
        write_jwks(jwks, NEW, KEY)
        for path in (INQUIRY, CODE):
            assert (await taken(system, KEY, path), await taken(system, NEW, path)) == (True, True)
        # Its own token is read again as well.
        own = NEW.token(sub="khqr", scopes=["payments:inquire", "khqr:record"], bank=None)
        (tmp_path / "keys" / "khqr.token").write_text(own)
        write_jwks(jwks, NEW)
        for path in (INQUIRY, CODE):
            assert (await taken(system, KEY, path), await taken(system, NEW, path)) == (False, True)
