"""Sealed values: the standard's known answer, our own form by another library, and every break.

| given                                               | read                         |
|-----------------------------------------------------|------------------------------|
| what was sealed, for the same name                  | the text                     |
| one bit changed, cut, another name, another version | refused, nothing repeated    |
| sealed with a key further down the file             | the text: keys rotate        |
| a key file that others may read, in production      | refused                      |
| a variable that is sealed                           | its text; checked and masked |
"""

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.redaction import known_secrets
from chassis.sealed import PREFIX, SealBroken, encrypted, key_line, read_key_file, seal, unseal
from chassis.secrets import refuse_disclosed
from chassis.settings import SettingError, Variables

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(range(100, 112))
NAME, SECRET = "AMK.signing.key", "a dummy secret, សម្ងាត់"
# Made by OpenSSL, through another language's library.
SEALED = (
    "enc:v1:ZGVmZ2hpamtsbW5vKTu6ExSEL75NBzyavxFG3aNcmesV9BLtNTAyzBo9E6kKZqFfx0RSibTtoOjYJazTNd_swyg"
)


def test_the_cipher_is_the_standards() -> None:
    """Test Case 16 of McGrew and Viega's GCM specification, which SP 800-38D stands on."""
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    box = encrypted(
        key=bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2),
        nonce=bytes.fromhex("cafebabefacedbaddecaf888"),
        plain=text,
        associated=bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    )
    assert box.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_our_form_is_what_another_library_makes() -> None:
    assert seal(text=SECRET, name=NAME, key=KEY, nonce=NONCE) == SEALED
    assert unseal(sealed=SEALED, name=NAME, keys=[KEY]) == SECRET


@given(text=st.text(min_size=1), nonce=st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens(text: str, nonce: bytes) -> None:
    try:
        sealed = seal(text=text, name=NAME, key=KEY, nonce=nonce)
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    assert unseal(sealed=sealed, name=NAME, keys=[OTHER_KEY, KEY]) == text


def flipped(sealed: str, bit: int) -> str:
    box = bytearray(base64.urlsafe_b64decode(sealed.removeprefix(PREFIX) + "=="))
    box[bit // 8] ^= 1 << bit % 8
    return PREFIX + base64.urlsafe_b64encode(box).rstrip(b"=").decode()


@pytest.mark.parametrize("bit", [0, 95, 96, 200, 400, 519])
def test_one_changed_bit_and_nothing_opens(bit: int) -> None:
    with pytest.raises(SealBroken, match="does not open"):
        unseal(sealed=flipped(SEALED, bit), name=NAME, keys=[KEY])


@pytest.mark.parametrize(
    ("sealed", "name", "keys", "why"),
    [
        (SEALED, "AMK.sign_in.password", [KEY], "does not open"),
        (SEALED, f"{NAME} ", [KEY], "does not open"),
        (SEALED, NAME, [OTHER_KEY], "does not open"),
        (SEALED, NAME, [], "does not open"),
        (SEALED[:-4], NAME, [KEY], "does not open"),
        (SEALED.replace("v1", "v2"), NAME, [KEY], "start with enc:v1:"),
        (SEALED + "!", NAME, [KEY], "no base64url"),
        (SEALED + "\n", NAME, [KEY], "no base64url"),
        (PREFIX, NAME, [KEY], "no base64url"),
        (PREFIX + "A", NAME, [KEY], "no base64url"),
        (PREFIX + "AAAA", NAME, [KEY], "too short"),
        (PREFIX + "A" * 38, NAME, [KEY], "too short"),
    ],
)
def test_what_does_not_open_is_not_repeated(
    sealed: str, name: str, keys: list[bytes], why: str
) -> None:
    with pytest.raises(SealBroken, match=why) as refusal:
        unseal(sealed=sealed, name=name, keys=keys)
    assert SECRET not in str(refusal.value)
    assert SEALED[10:20] not in str(refusal.value)


def test_a_key_file_may_hold_several_keys_and_the_first_seals(tmp_path: Path) -> None:
    path = tmp_path / "config.key"
    path.write_text(f"# since January\n{key_line(key=OTHER_KEY)}\n{key_line(key=KEY)}")
    keys = read_key_file(path=path, must_be_private=False)
    assert keys == (OTHER_KEY, KEY)
    assert unseal(sealed=SEALED, name=NAME, keys=keys) == SECRET


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no key"),
        ("# nothing\n\n", "holds no key"),
        (base64.b64encode(b"short").decode(), "line 1: is not base64 of 32 bytes"),
        (f"{key_line(key=KEY)}hunter2", "line 2: is not base64"),
        (key_line(key=KEY)[:-2], "line 1: is not base64"),
        ("ក", "is no text"),
    ],
)
def test_a_wrong_key_file_is_refused_without_repeating_it(
    tmp_path: Path, content: str, why: str
) -> None:
    path = tmp_path / "config.key"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SealBroken, match=why) as refusal:
        read_key_file(path=path, must_be_private=False)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)]
)
def test_a_key_that_others_may_read_is_refused_in_production(
    tmp_path: Path, mode: int, good: bool
) -> None:
    path = tmp_path / "config.key"
    path.write_text(key_line(key=KEY))
    path.chmod(mode)
    environ = {"CONFIG_KEY_FILE": str(path), "DB_PASSWORD": sealed_for("DB_PASSWORD")}
    assert Variables(environ=environ).text("DB_PASSWORD") == SECRET
    variables = Variables(environ=environ | {"ENVIRONMENT": "production"})
    if good:
        assert variables.text("DB_PASSWORD") == SECRET
    else:
        with pytest.raises(SettingError, match=r"^CONFIG_KEY_FILE: .*others may use it"):
            variables.text("DB_PASSWORD")


def sealed_for(name: str) -> str:
    return seal(text=SECRET, name=name, key=KEY, nonce=NONCE)


def test_a_sealed_variable_is_opened_for_its_own_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.key"
    path.write_text(key_line(key=KEY))
    (tmp_path / "sealed").write_text(sealed_for("THIRD") + "\n")
    variables = Variables(
        environ={
            "CONFIG_KEY_FILE": str(path),
            "FIRST": sealed_for("FIRST"),
            "SECOND": sealed_for("FIRST"),
            "THIRD_FILE": str(tmp_path / "sealed"),
        }
    )
    assert variables.text("FIRST") == variables.text("THIRD") == SECRET
    with pytest.raises(SettingError, match=r"^SECOND: does not open"):
        variables.text("SECOND")
    assert known_secrets.masked(f"x {SECRET} x") == "x *** x"
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    with pytest.raises(SettingError, match=r"^FIRST: .*disclosed"):
        refuse_disclosed(texts=variables.unsealed_texts(), digests=frozenset({digest}))


def test_a_sealed_variable_without_a_key_file_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match=r"^CONFIG_KEY_FILE: is required"):
        Variables(environ={"FIRST": SEALED}).text("FIRST")
