"""`payctl encrypt`, as a person runs it.

| typed                                   | done                                              |
|-----------------------------------------|---------------------------------------------------|
| encrypt --new-key PATH                  | a key file of mode 0600; an old one is kept       |
| encrypt --name N, the secret on stdin   | prints enc:v1:..., which the services open        |
| the same on a terminal                  | asks, without showing what is typed               |
| the secret as an argument               | refused: every user can list arguments            |
"""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.sealed import read_key_file, unseal
from chassis.settings import Variables
from gateway_svc.settings import read_settings

SECRET = "a dummy secret, សម្ងាត់"


def payctl(
    folder: Path, *arguments: str, stdin: bytes = b"", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "payctl", "encrypt", *arguments],
        input=stdin,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "CONFIG_KEY_FILE": str(folder / "config.key")} | environ,
        capture_output=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    made = payctl(tmp_path, "--new-key", "config.key")
    assert made.returncode == 0, made.stderr
    return tmp_path / "config.key"


def test_a_new_key_is_its_owners_alone_and_never_overwritten(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    [key] = read_key_file(path=key_file, must_be_private=True)
    assert len(key) == 32
    again = payctl(key_file.parent, "--new-key", "config.key")
    assert again.returncode == 2
    assert again.stderr.startswith(b"payctl: --new-key: config.key: is there already")
    assert read_key_file(path=key_file, must_be_private=True) == (key,)


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert payctl(tmp_path, "--new-key", name).returncode == 0
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_what_is_printed_is_opened_by_a_service(tmp_path: Path, key_file: Path) -> None:
    for stdin in (SECRET.encode(), f"{SECRET}\n".encode()):
        printed = payctl(tmp_path, "--name", "AMK.signing.key", stdin=stdin)
        assert printed.returncode == 0, printed.stderr
        banks = tmp_path / "banks.toml"
        banks.write_text(
            '[AMK]\ncurrencies = ["USD"]\nmerchant_id = "1"\nstore_id = "2"\nterminal_id = "3"\n'
            '[AMK.verify]\nurl = "https://bank.example"\n'
            f'[AMK.signing]\nkey = "{printed.stdout.decode().strip()}"\n'
        )
        environ = {"BANKS_FILE": str(banks), "CONFIG_KEY_FILE": str(key_file)}
        settings = read_settings(variables=Variables(environ=environ), environ=environ)
        verify = settings.banks["AMK"].verify
        assert verify is not None
        assert verify.key == SECRET
        assert SECRET not in repr(settings)


def test_the_same_secret_looks_different_each_time(tmp_path: Path, key_file: Path) -> None:
    printed = {payctl(tmp_path, "--name", "N", stdin=b"same").stdout for _ in range(2)}
    assert len(printed) == 2
    keys = read_key_file(path=key_file, must_be_private=True)
    for one in printed:
        assert unseal(sealed=one.decode().strip(), name="N", keys=keys) == "same"


def test_on_a_terminal_it_asks_and_shows_nothing(tmp_path: Path, key_file: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "payctl", "encrypt", "--name", "N"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "CONFIG_KEY_FILE": str(key_file)},
        cwd=tmp_path,
    )
    os.close(terminal)
    shown = b""
    while b"N: " not in shown:
        shown += os.read(controller, 1000)
    os.write(controller, b"typed-secret\n")
    out, _ = process.communicate(timeout=30)
    keys = read_key_file(path=key_file, must_be_private=True)
    assert unseal(sealed=out.decode().strip(), name="N", keys=keys) == "typed-secret"
    with contextlib.suppress(OSError):  # the other end is closed
        shown += os.read(controller, 1000)
    os.close(controller)
    assert b"typed-secret" not in shown


@pytest.mark.parametrize(
    ("arguments", "stdin", "why"),
    [
        (["--name", "N", "hunter2"], b"", b"unexpected extra argument"),
        (["--name", "N"], b"", b"payctl: standard input: holds no secret"),
        (["--name", "N"], b"\xff", b"payctl: standard input: is not UTF-8"),
        (["--name", "N"], b"x" * 70_000, b"payctl: standard input: holds more than"),
        ([], b"hunter2", b"payctl: --name: is required"),
        (["--name", "N", "--new-key", "k"], b"", b"payctl: --new-key: makes a key and seals"),
        (["--new-key", "absent/k"], b"", b"payctl: --new-key: absent/k: No such file"),
        (["--name", "N", "--key-file", "absent"], b"x", b"payctl: CONFIG_KEY_FILE: absent: No"),
    ],
)
@pytest.mark.usefixtures("key_file")
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, arguments: list[str], stdin: bytes, why: bytes
) -> None:
    result = payctl(tmp_path, *arguments, stdin=stdin)
    assert result.returncode == 2
    assert why in result.stderr
    assert result.stdout == b""
