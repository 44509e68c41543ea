"""A variable is read once, or refused in one line that names it and never quotes a secret.

| written                         | read                                  |
|---------------------------------|---------------------------------------|
| NAME, or NAME_FILE              | its value, or what the file holds     |
| both                            | refused                               |
| host:port, [::1]:port, port 0   | an address                            |
| .env on a laptop                | fills the gaps; production ignores it |
"""

from pathlib import Path

import pytest

from chassis.redaction import known_secrets
from chassis.settings import Address, SettingError, Variables, process_variables


def variables(**environ: str) -> Variables:
    return Variables(environ=environ)


def test_a_variable_may_be_given_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("from file\n")
    assert variables(NAME_FILE=str(path)).text("NAME") == "from file"


def test_an_unset_or_empty_variable_is_its_default() -> None:
    assert variables(NAME="").text("NAME", default="x") == "x"
    assert variables().text("NAME", default="x") == "x"


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1:0", (Address(host="127.0.0.1", port=0),)),
        ("[::1]:80", (Address(host="::1", port=80),)),
        ("a:1, b:2", (Address(host="a", port=1), Address(host="b", port=2))),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, addresses: tuple[Address, ...]) -> None:
    read = variables(LISTEN=text).addresses("LISTEN", default="")
    assert read == addresses
    assert ",".join(str(address) for address in read) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["localhost", ":80", "h:", "h:65536", "h:-1", "h:٨٠", "h:80,"])
def test_a_wrong_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError, match=r"^LISTEN: "):
        variables(LISTEN=text).addresses("LISTEN", default="")


def test_two_addresses_are_refused_where_one_is_meant() -> None:
    with pytest.raises(SettingError, match="one host:port"):
        variables(LISTEN="a:1,b:2").address("LISTEN", default="")


@pytest.mark.parametrize("text", ["ftp://u:hunter2@h", "hunter2", "http//x", "//[hunter2"])
def test_a_wrong_url_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SettingError) as refusal:
        variables(URL=text).url("URL", schemes=("http", "https"))
    assert str(refusal.value).startswith("URL: ")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASSWORD", "swordfish-a", "swordfish-a"),
        ("URL", "postgresql://u:marlin%2Fb@h/d", "marlin/b"),
        ("URL", "postgresql://h/d?user=u&password=catfish-c", "catfish-c"),
    ],
)
def test_a_secret_that_was_read_is_never_said_again(name: str, value: str, secret: str) -> None:
    assert known_secrets.masked(secret) == secret
    read = variables(**{name: value})
    assert (read.url(name, schemes=("postgresql",)) if name == "URL" else read.text(name)) == value
    assert secret not in known_secrets.masked(f"why: {secret}")


@pytest.mark.parametrize("text", ["x", "1.5", "-1", "11", "٣", "1" * 40])
def test_a_number_out_of_its_bounds_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="from 0 to 10"):
        variables(N=text).integer("N", default=1, least=0, most=10)


def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for environ, message in (
        ({}, "NAME: is required"),
        ({"NAME": "x", "NAME_FILE": "y"}, "not both"),
        ({"NAME_FILE": str(tmp_path / "nowhere")}, "NAME_FILE: .*No such file"),
        ({"NAME_FILE": str(tmp_path / "binary")}, "UTF-8"),
    ):
        with pytest.raises(SettingError, match=message):
            Variables(environ=environ).text("NAME")
    with pytest.raises(SettingError, match="one of a, b"):
        variables(NAME="c").choice("NAME", choices=("a", "b"), default="a")
    with pytest.raises(SettingError, match="PLACE: is required"):
        variables().path("PLACE")


def test_a_laptops_env_file_fills_the_gaps_and_production_ignores_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# comment\n\nA = one\nB='two'\n")
    laptop = process_variables(environ={"A": "set"}, dotenv=path)
    assert (laptop.text("A"), laptop.text("B")) == ("set", "two")
    assert laptop.environ == {"A": "set", "B": "two"}  # what env:B of banks.toml refers to
    production = process_variables(environ={"ENVIRONMENT": "production"}, dotenv=path)
    assert production.text("A", default="none") == "none"


def test_a_line_of_the_env_file_that_is_no_assignment_is_refused_by_number(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nexport B=2\n")
    with pytest.raises(SettingError, match="line 2"):
        process_variables(environ={}, dotenv=path)
