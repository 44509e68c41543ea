"""Secrets by reference, and credentials that everybody knows.

| written                  | read                                        |
|--------------------------|---------------------------------------------|
| env:NAME                 | the variable                                |
| file:PATH                | the file as it is now, without its newline |
| enc:v1:...               | opened for its own name                     |
| the secret itself        | refused, without repeating it               |
"""

import hashlib
from pathlib import Path

import pytest

from chassis.sealed import key_line, seal
from chassis.secrets import (
    SecretReference,
    refuse_disclosed,
    secret_reference,
    texts_of_document,
    texts_of_environ,
)
from chassis.settings import SettingError, Variables

LEAKED = "a pass phrase that everybody knows"
KEY = bytes(range(32))
SEALED = seal(text="hunter2", name="X.key", key=KEY, nonce=bytes(12))
DIGESTS = frozenset({hashlib.sha256(LEAKED.encode()).hexdigest()})


def reference(text: object, folder: Path) -> SecretReference:
    key_file = folder / "config.key"
    key_file.write_text(key_line(key=KEY), encoding="ascii")
    return secret_reference(
        inside="BANKS",
        name="X.key",
        text=text,
        folder=folder,
        environ={"SET": "value", "SEALED": SEALED},
        variables=Variables(environ={"CONFIG_KEY_FILE": str(key_file)}),
    )


def test_a_variable_is_read(tmp_path: Path) -> None:
    found = reference("env:SET", tmp_path)
    assert found.read() == "value"
    assert "value" not in repr(found)


def test_a_sealed_secret_is_opened(tmp_path: Path) -> None:
    found = reference(SEALED, tmp_path)
    assert found.read() == "hunter2"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_file_is_read_as_it_is_now(tmp_path: Path, absolute: bool) -> None:
    file = tmp_path / "keys" / "key"
    file.parent.mkdir()
    found = reference(f"file:{file if absolute else 'keys/key'}", tmp_path)
    for value in ("first", "second", "  kept  "):
        file.write_text(f"{value}\r\n", encoding="utf-8")
        assert found.read() == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "not the secret itself"),
        ("hunter2:with:colons", "not the secret itself"),
        ("env:", "must be env:NAME"),
        ("file:", "must be env:NAME"),
        ("", "must be env:NAME"),
        (None, "must be env:NAME"),
        (["hunter2"], "must be env:NAME"),
        ("enc:v1:hunter2", "too short"),
        ("enc:v1:hunter2!", "no base64url"),
        ("enc:v2:hunter2", "start with enc:v1:"),
        ("enc:", "must be env:NAME"),
        (seal(text="hunter2", name="Y.key", key=KEY, nonce=bytes(12)), "sealed for another name"),
    ],
)
def test_what_is_no_reference_is_refused_without_repeating_it(
    tmp_path: Path, text: object, why: str
) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        reference(text, tmp_path)
    assert str(caught.value).startswith("BANKS: X.key: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["env:NOT_SET", "env:SEALED", "file:absent", "file:empty", "file:binary"]
)
def test_a_secret_that_is_not_there_is_a_complaint_when_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"^BANKS: X\.key: "):
        reference(text, tmp_path).read()


@pytest.mark.parametrize(
    ("environ", "document", "named"),
    [
        ({"A": LEAKED}, {}, "A"),
        ({"A_FILE": "leaked"}, {}, "A_FILE"),
        ({}, {"deep": [{"down": LEAKED}]}, "BANKS"),
    ],
)
def test_a_disclosed_credential_is_found_wherever_it_stands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    document: object,
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("leaked").write_text(f"{LEAKED}\n", encoding="utf-8")
    texts = [*texts_of_environ(environ), *texts_of_document(document, name="BANKS")]
    with pytest.raises(SettingError, match=f"^{named}: .*disclosed") as caught:
        refuse_disclosed(texts=texts, digests=DIGESTS)
    assert LEAKED not in str(caught.value)


def test_what_nobody_disclosed_is_let_through(tmp_path: Path) -> None:
    environ = {"A": f"{LEAKED}!", "B_FILE": str(tmp_path), "C_FILE": "absent", "D_FILE": "\0"}
    refuse_disclosed(texts=texts_of_environ(environ), digests=DIGESTS)
    refuse_disclosed(texts=texts_of_document({"a": 1, "b": [True]}, name="B"), digests=DIGESTS)
