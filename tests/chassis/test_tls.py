"""Which files make TLS, and how the others are refused; which targets never leave the machine.

| given                                                | read                             |
|------------------------------------------------------|----------------------------------|
| certificate, key, authority that fit together        | TLS                              |
| nothing                                              | plain text                       |
| half of a pair, a certificate without an authority   | refused, the missing one is named |
| unreadable, no PEM, expired, early, another's key, locked | refused, the variable is named |
| a key that others may use, in production             | refused                          |
| plain text beyond this machine, in production        | refused without a reason         |
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from chassis.plaintext import is_loopback, refuse_plaintext
from chassis.settings import SettingError, Variables
from chassis.tls import (
    TlsFiles,
    read_client_tls,
    read_material,
    read_server_tls,
    watched_material,
)
from tests.support.certificates import Authority, variables_of


@pytest.fixture
def house(tmp_path: Path) -> Authority:
    return Authority(folder=tmp_path / "house")


def server(environ: dict[str, str], *, production: bool = False) -> TlsFiles | None:
    return read_server_tls(
        variables=Variables(environ=environ), name="GATEWAY", production=production
    )


def client(environ: dict[str, str]) -> TlsFiles | None:
    return read_client_tls(variables=Variables(environ=environ), production=False)


def test_files_that_fit_together_are_taken(house: Authority) -> None:
    own = house.issue("gateway")
    assert server({}) is None
    assert client({}) is None
    found = server(
        variables_of("GATEWAY", own) | {"GATEWAY_TLS_CLIENT_CA_PATH": str(house.file)},
        production=True,
    )
    assert found is not None
    assert found.paths == (own.chain, own.key, house.file)
    assert b"PRIVATE KEY" not in repr(watched_material(files=found).value()).encode()
    trusting = client({"CLIENT_TLS_CA_PATH": str(house.file)})
    assert trusting is not None
    assert trusting.own is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["GATEWAY_TLS_CERTIFICATE_PATH"], "GATEWAY_TLS_KEY_PATH: is required"),
        (["GATEWAY_TLS_KEY_PATH"], "GATEWAY_TLS_CERTIFICATE_PATH: is required"),
        (["GATEWAY_TLS_CLIENT_CA_PATH"], "GATEWAY_TLS_CERTIFICATE_PATH: is required"),
        (["CLIENT_TLS_CERTIFICATE_PATH"], "CLIENT_TLS_KEY_PATH: is required"),
        (["CLIENT_TLS_KEY_PATH", "CLIENT_TLS_CA_PATH"], "CLIENT_TLS_CERTIFICATE_PATH: is req"),
        (
            ["CLIENT_TLS_CERTIFICATE_PATH", "CLIENT_TLS_KEY_PATH"],
            "CLIENT_TLS_CA_PATH: is required",
        ),
    ],
)
def test_half_a_configuration_is_refused_by_what_is_missing(
    house: Authority, given: list[str], named: str
) -> None:
    own = house.issue("gateway")
    everything = (
        variables_of("GATEWAY", own)
        | variables_of("CLIENT", own)
        | {
            "GATEWAY_TLS_CLIENT_CA_PATH": str(house.file),
            "CLIENT_TLS_CA_PATH": str(house.file),
        }
    )
    environ = {name: everything[name] for name in given}
    with pytest.raises(SettingError, match=f"^{named}"):
        (client if given[0].startswith("CLIENT") else server)(environ)


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("own.pem", None, "GATEWAY_TLS_CERTIFICATE_PATH: .*No such file"),
        ("own.key", None, "GATEWAY_TLS_KEY_PATH: .*No such file"),
        ("ca.pem", None, "GATEWAY_TLS_CLIENT_CA_PATH: .*No such file"),
        ("own.pem", "no pem", "GATEWAY_TLS_CERTIFICATE_PATH: .*holds no certificate"),
        ("own.key", "no pem", "GATEWAY_TLS_KEY_PATH: .*holds no private key"),
        ("ca.pem", "", "GATEWAY_TLS_CLIENT_CA_PATH: .*holds no certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_variable(
    house: Authority, file: str, content: str | None, named: str
) -> None:
    environ = variables_of("GATEWAY", house.issue("gateway"))
    environ |= {"GATEWAY_TLS_CLIENT_CA_PATH": str(house.file)}
    path = house.folder / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(SettingError, match=f"^{named}"):
        server(environ)


def test_a_certificate_out_of_its_time_is_refused(house: Authority) -> None:
    for expired, why in ((True, "has expired"), (False, "is not valid yet")):
        own = house.issue("gateway", expired=expired, early=not expired)
        with pytest.raises(SettingError, match=f"^GATEWAY_TLS_CERTIFICATE_PATH: .*{why}"):
            server(variables_of("GATEWAY", own))
    found = server(variables_of("GATEWAY", house.issue("gateway")))
    assert found is not None
    with pytest.raises(SettingError, match="has expired"):
        read_material(files=found, now=datetime.now(tz=UTC) + timedelta(days=10))


def test_the_key_of_another_certificate_is_refused(house: Authority) -> None:
    own, other = house.issue("gateway"), house.issue("gateway", file="other")
    own.key.write_bytes(other.key.read_bytes())
    with pytest.raises(SettingError, match=r"^GATEWAY_TLS_KEY_PATH: .*of another certificate"):
        server(variables_of("GATEWAY", own))


def test_a_locked_key_is_refused_and_nobody_is_asked_for_its_pass_phrase(house: Authority) -> None:
    own = house.issue("gateway")
    key = serialization.load_pem_private_key(own.key.read_bytes(), password=None)
    own.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"dummy"),
        )
    )
    with pytest.raises(SettingError, match=r"^GATEWAY_TLS_KEY_PATH: .*locked"):
        server(variables_of("GATEWAY", own))


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o640, True), (0o604, False), (0o660, False), (0o400, True)]
)
def test_a_key_that_others_may_use_is_refused_in_production(
    house: Authority, mode: int, good: bool
) -> None:
    own = house.issue("gateway")
    own.key.chmod(mode)
    environ = variables_of("GATEWAY", own)
    assert server(environ, production=False)
    if good:
        assert server(environ, production=True)
    else:
        with pytest.raises(SettingError, match=r"^GATEWAY_TLS_KEY_PATH: .*others may use it"):
            server(environ, production=True)


def test_a_broken_new_file_keeps_the_old_material(house: Authority) -> None:
    now_s = 0.0
    files = server(variables_of("GATEWAY", house.issue("gateway")))
    assert files is not None
    watched = watched_material(files=files, clock=lambda: now_s)
    first = watched.value()
    assert files.own is not None
    files.own[1][1].write_text("half a")
    now_s = 10
    assert watched.value() is first
    house.issue("gateway")
    assert watched.value() is first  # looked at a moment ago
    now_s = 20
    assert watched.value() != first


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("127.0.0.1:50051", True),
        ("127.9.9.9:1", True),
        ("localhost:50051", True),
        ("[::1]:50051", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("ipv6:[::1]:1", True),
        ("dns:///localhost:1", True),
        ("unix:/run/gateway.sock", True),
        ("unix-abstract:gateway", True),
        ("gateway:50051", False),
        ("dns:///gateway.internal:50051", False),
        ("dns:///localhost.example.com:50051", False),
        ("dns://127.0.0.1/gateway:1", False),
        ("10.0.0.1:50051", False),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("127.0.0.1.example.com:1", False),
    ],
)
def test_plain_text_beyond_this_machine_needs_a_reason(target: str, own: bool) -> None:
    assert is_loopback(target=target) is own
    places = [("GATEWAY_TARGET", "127.0.0.1:1"), ("KHQR_TARGET", target)]
    for reason in ("", "  "):
        variables = Variables(environ={"ALLOW_PLAINTEXT_GRPC": reason})
        if own:
            refuse_plaintext(variables=variables, places=places)
        else:
            with pytest.raises(SettingError, match=r"^KHQR_TARGET: .*ALLOW_PLAINTEXT_GRPC"):
                refuse_plaintext(variables=variables, places=places)
    variables = Variables(environ={"ALLOW_PLAINTEXT_GRPC": "the mesh encrypts"})
    refuse_plaintext(variables=variables, places=places)
