"""How a request is signed, and how the form is found from one sample.

| sample                          | found                                                   |
|---------------------------------|---------------------------------------------------------|
| every style, key and output     | that style, key and output                              |
| another separator, order, part  | the separator, the order, the part                      |
| percent-encoded                 | as if it were not                                       |
| of another key or value         | nothing, exit code 1                                    |
"""

import base64
import hashlib
import hmac
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest

from gateway_svc.banks.signing import (
    FIELDS,
    KeyEncoding,
    Output,
    SigningForm,
    SigningFormWrong,
    Style,
    read_form,
    sign,
)
from payctl.sign import as_toml, candidates, find_form

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
VALUES = dict(
    zip(
        FIELDS,
        ("900000000290002", "800000000270001", "70000002", "150001", "1759813200000"),
        strict=True,
    )
)
# Known answers for a dummy key, made without this code.
KNOWN = {
    KeyEncoding.UTF8: (
        "v/NBIeqFui7Ni2jHgFUbx3Z9Pp02OXpMAXiBlSVof4FaSzkjdrGPqJ7PajpYCG1d5WjjYwA/wsuMgNAbmne5TQ=="
    ),
    KeyEncoding.BASE64: (
        "Yt3f6gI/1hAekmXG6z5dQhPZWL3r35XnV5MoegBVGICjIXkx/2AQqMp/8k/q6L2Tth09PccundTTxSh1OXKvcA=="
    ),
}
FORMS = [
    SigningForm(style=style, key_encoding=encoding, output=output, separator=separator)
    for style, encoding, output, separator in product(Style, KeyEncoding, Output, ("", "&"))
]
ODD_FORMS = [
    SigningForm(fields=tuple(reversed(FIELDS)), separator=":"),
    SigningForm(fields=("txId", "merchantId", "timestamp"), style=Style.PAIRS, separator="|"),
    SigningForm(fields=("txId",), key_encoding=KeyEncoding.BASE64, output=Output.HEX_UPPER),
    SigningForm(separator="\n"),
]


@pytest.mark.parametrize("encoding", KeyEncoding)
def test_the_known_answers_are_given(encoding: KeyEncoding) -> None:
    form = SigningForm(key_encoding=encoding)
    assert sign(form=form, values=VALUES, key=KEY) == KNOWN[encoding]


def test_the_default_is_values_in_a_row_key_as_text_base64_out() -> None:
    assert read_form({}) == SigningForm()
    assert sign(form=SigningForm(), values=VALUES, key=KEY) == KNOWN[KeyEncoding.UTF8]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_signs_as_the_standard_library_alone_would(form: SigningForm) -> None:
    names = form.style is Style.PAIRS
    text = form.separator.join(f"{n}={v}" if names else v for n, v in VALUES.items())
    key = KEY.encode() if form.key_encoding is KeyEncoding.UTF8 else base64.b64decode(KEY)
    digest = hmac.new(key, text.encode(), hashlib.sha512)
    expected = {
        Output.BASE64: base64.b64encode(digest.digest()).decode(),
        Output.HEX_LOWER: digest.hexdigest(),
        Output.HEX_UPPER: digest.hexdigest().upper(),
    }[form.output]
    assert sign(form=form, values=VALUES, key=KEY) == expected


@pytest.mark.parametrize("form", FORMS + ODD_FORMS)
def test_the_form_is_found_from_one_sample(form: SigningForm, tmp_path: Path) -> None:
    sample = sign(form=form, values=VALUES, key=KEY)
    found = find_form(values=VALUES, key=KEY, sample=sample)
    assert found == form
    block = tomllib.loads(as_toml(bank="AMK", form=form, key_file=tmp_path / "key"))
    assert read_form(block["AMK"]["signing"]) == form
    assert block["AMK"]["signing"]["key"] == f"file:{tmp_path / 'key'}"


def test_a_percent_encoded_sample_is_understood() -> None:
    sample = quote(KNOWN[KeyEncoding.UTF8], safe="")
    assert find_form(values=VALUES, key=KEY, sample=sample) == SigningForm()


@pytest.mark.parametrize(
    ("values", "key"), [(VALUES | {"txId": "150002"}, KEY), (VALUES, KEY[:-4])]
)
def test_a_sample_of_another_request_or_key_is_not_found(values: dict[str, str], key: str) -> None:
    assert find_form(values=values, key=key, sample=KNOWN[KeyEncoding.UTF8]) is None


def test_a_key_that_is_not_base64_is_tried_as_text_alone() -> None:
    found = list(candidates(values=VALUES, key="QUJD!QUJD"))
    assert {one.form.key_encoding for one in found} == {KeyEncoding.UTF8}
    assert len(found) == len({one.signature for one in found})


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"fields": []}, "fields"),
        ({"fields": ["txId", "txId"]}, "fields"),
        ({"fields": "txId"}, "fields"),
        ({"style": "rows"}, "style: must be one of values, pairs"),
        ({"separator": 1}, "separator"),
        ({"separator": "-----"}, "separator"),
        ({"key_encoding": "hex"}, "key_encoding: must be one of utf8, base64"),
        ({"output": "Hex"}, "output: must be one of base64, hex, HEX"),
    ],
)
def test_a_wrong_form_is_refused_naming_its_member(table: dict[str, object], named: str) -> None:
    with pytest.raises(SigningFormWrong, match=f"^{named}"):
        read_form(table)


@pytest.mark.parametrize(
    ("form", "key", "named"),
    [
        (SigningForm(fields=("amount",)), KEY, "'amount'"),
        (SigningForm(), "", "key: is empty"),
        (SigningForm(key_encoding=KeyEncoding.BASE64), "QUJD!QUJD", "key: is not base64"),
    ],
)
def test_what_cannot_be_signed_is_refused_without_the_key(
    form: SigningForm, key: str, named: str
) -> None:
    with pytest.raises(SigningFormWrong, match=named) as caught:
        sign(form=form, values=VALUES, key=key)
    assert not key or key not in str(caught.value)


def run(tmp_path: Path, *more: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "key"
    if key:
        file.write_text(f"{key}\n", encoding="utf-8")
    names = ("--merchant", "--store", "--terminal", "--tx", "--timestamp")
    options = [part for pair in zip(names, VALUES.values(), strict=True) for part in pair]
    return subprocess.run(
        [sys.executable, "-m", "payctl", "sign", "--key-file", str(file), *options, *more],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_every_candidate_and_the_block_of_a_sample(tmp_path: Path) -> None:
    every = run(tmp_path)
    assert every.returncode == 0
    assert all(one.signature in every.stdout for one in candidates(values=VALUES, key=KEY))
    assert KEY not in every.stdout + every.stderr
    block = run(tmp_path, "--hash", KNOWN[KeyEncoding.BASE64], "--bank", "ABC")
    assert block.returncode == 0
    assert tomllib.loads(block.stdout)["ABC"]["signing"]["key_encoding"] == "base64"


def test_the_command_says_so_where_nothing_fits(tmp_path: Path) -> None:
    nothing = run(tmp_path, "--hash", "AAAA")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.count("\n") == 1
    no_key = run(tmp_path / "absent", key="")
    assert no_key.returncode == 2
    assert "No such file" in no_key.stderr
