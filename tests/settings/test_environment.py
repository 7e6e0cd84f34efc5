"""Settings.from_env: JWTGATE_*, JWTGATE_*_FILE and what is wrong with them."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.errors import SettingsError
from jwtgate.settings import Settings
from jwtgate.settings.environment import distance

SECRET = "s3cr3t-Kq7-" * 8


def from_env(**variables: str) -> Settings:
    names = {f"JWTGATE_{name.upper()}": value for name, value in variables.items()}
    return Settings.from_env({"JWTGATE_SECRET": SECRET, "HOME": "/", **names})


def mistakes(**variables: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        from_env(**variables)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None, "a chained error would tell what ours keeps back"
    return caught.value.mistakes


def test_every_shape_is_read() -> None:
    """Text, numbers, booleans and lists, with spaces around items dropped."""
    settings = from_env(
        issuer="https://idp", lease="2.5", cache_size="10", strict="yes", handles=" tenant , group", exempt="/a,/b/*"
    )
    expected = Settings(
        secret=SECRET,
        issuer="https://idp",
        lease=2.5,
        cache_size=10,
        strict=True,
        handles=["tenant", "group"],
        exempt=["/a", "/b/*"],
    )
    assert settings == expected and hash(settings) == hash(expected)


def test_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the process's own variables are read."""
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    monkeypatch.setenv("JWTGATE_LEASE", "3")
    assert Settings.from_env().lease == 3.0


def test_given_mapping_alone_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """environs looks into os.environ first; we do not."""
    (tmp_path / "x").write_text("9")
    monkeypatch.setenv("JWTGATE_LEASE", "3")
    monkeypatch.setenv("JWTGATE_GRACE_FILE", str(tmp_path / "x"))
    assert from_env(lease="2") == Settings(secret=SECRET, lease=2)


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "on"])
def test_yes_is_true(text: str) -> None:
    """The ways to say yes."""
    assert from_env(strict=text).strict is True


@pytest.mark.parametrize("text", ["0", "false", "FALSE", "no", "off"])
def test_no_is_false(text: str) -> None:
    """The ways to say no."""
    assert from_env(strict=text).strict is False


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("strict", "maybe", "1 or 0"),
        ("lease", "1s", "0.05 to 60"),
        ("lease", "nan", "0.05 to 60"),
        ("lease", "inf", "0.05 to 60"),
        ("lease", "1e999", "0.05 to 60"),
        ("leeway", "-1", "0 to 3600"),
        ("cache_size", "1.5", "whole number"),
        ("cache_size", "9" * 5000, "whole number"),
        ("handles", "a,,b", "claim names"),
        ("handles", "a,", "claim names"),
        ("audience", ",", "audiences"),
        ("locations", "header,query", "header, cookie, subprotocol"),
        ("live", "close,ignore", "one of them"),
        ("live", "/a", "/path=ignore"),
        ("live", "/a=open", "/path=ignore"),
        ("live", "/a/../b=ignore", "/path=ignore"),
        ("ws_close", "1006", "3000 to 4999"),
        ("partitions", "2", "1"),
        ("issuers", f'["{SECRET}"', "JSON list"),
        ("issuers", f'{{"secret": "{SECRET}"}}', "JSON list"),
    ],
)
def test_wrong_text_is_a_mistake(name: str, text: str, allowed: str) -> None:
    """Named with the variable and what is allowed."""
    found = [mistake for mistake in mistakes(**{name: text}) if mistake.startswith(f"JWTGATE_{name.upper()} ")]
    assert allowed in found[0].partition("allowed: ")[2]


@pytest.mark.parametrize("name", ["secret", "store", "lease", "handles", "strict", "issuers", "jwks_file"])
@pytest.mark.parametrize("text", ["", "  "])
def test_empty_variable_is_a_mistake(name: str, text: str) -> None:
    """An empty variable is a slip of a template, never a wish for the default."""
    assert f"JWTGATE_{name.upper()} is empty" in mistakes(**{name: text})[0]


def test_unreadable_bytes_are_a_mistake() -> None:
    """os.environ turns what is not UTF-8 into lone surrogates, which would break encode() later."""
    assert "not valid Unicode" in mistakes(issuer="\udcff")[0]


@pytest.mark.parametrize(("content", "kept"), [(SECRET, ""), (SECRET + "\n", ""), (SECRET + "\n\n", "\n")])
def test_file_gives_the_text_less_one_newline(content: str, kept: str, tmp_path: Path) -> None:
    """Editors and secret mounts end a file with a newline; only that one is dropped."""
    path = tmp_path / "secret"
    path.write_text(content)
    assert Settings.from_env({"JWTGATE_SECRET_FILE": str(path)}).secret == SECRET + kept


def test_file_with_a_dos_newline_gives_the_text(tmp_path: Path) -> None:
    """A carriage return before the newline belongs to it."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET.encode() + b"\r\n")
    assert Settings.from_env({"JWTGATE_SECRET_FILE": str(path)}).secret == SECRET


@pytest.mark.parametrize("name", ["lease", "handles", "strict", "store", "cache_size"])
def test_file_may_give_any_shape(name: str, tmp_path: Path) -> None:
    """Every variable may come from a file."""
    text = {"lease": "2", "handles": "a, b", "strict": "1", "store": "redis://h", "cache_size": "5"}[name]
    path = tmp_path / "value"
    path.write_text(text + "\n")
    assert from_env(**{f"{name}_file": str(path)}) == from_env(**{name: text})


def test_both_set_is_a_mistake(tmp_path: Path) -> None:
    """Which of the two counts is not for us to guess."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    (mistake,) = mistakes(secret_file=str(path))
    assert mistake.startswith("JWTGATE_SECRET ") and "JWTGATE_SECRET_FILE" in mistake


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"x" * (1024 * 1024 + 1), None])
def test_unusable_file_is_a_mistake(content: bytes | None, tmp_path: Path) -> None:
    """Empty, binary, endless or missing: said with the others, not raised on its own."""
    path = tmp_path / "lease.txt"
    if content is not None:
        path.write_bytes(content)
    found = mistakes(lease_file=str(path), grace="x")
    assert len(found) == 2 and found[0].startswith("JWTGATE_LEASE ")


@pytest.mark.parametrize("path", ["", " ", "a\0b"])
def test_file_name_must_be_one(path: str) -> None:
    """An empty _FILE is not the same as none."""
    assert "JWTGATE_LEASE_FILE" in mistakes(lease_file=path)[0]


def test_secret_in_the_place_of_its_file_is_not_shown() -> None:
    """JWTGATE_SECRET_FILE=<the secret> is an easy slip, and must not put it into the log."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"JWTGATE_SECRET_FILE": SECRET})
    assert "JWTGATE_SECRET_FILE" in str(caught.value) and SECRET not in str(caught.value)


def test_jwks_file_is_a_path_itself(tmp_path: Path) -> None:
    """JWTGATE_JWKS_FILE is a row of its own, not the file of JWTGATE_JWKS."""
    (mistake,) = mistakes(jwks_file=str(tmp_path / "none.json"))
    assert mistake.startswith("JWTGATE_JWKS_FILE names ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SECERT", "SECRET"),
        ("SECRETS", "SECRET"),
        ("AUDIENC", "AUDIENCE"),
        ("TYPE", "TYP"),
        ("LOCATION", "LOCATIONS"),
        ("EXEMTP_FILE", "EXEMPT_FILE"),
        ("MAXTTL", "MAX_TTL"),
    ],
)
def test_misspelt_name_is_a_mistake_with_the_right_one(name: str, meant: str) -> None:
    """A typo must not silently leave a gate open: within two letters it is one."""
    (mistake,) = mistakes(**{name: SECRET})
    assert mistake.startswith(f"JWTGATE_{name} ") and f"JWTGATE_{meant}," in mistake


def test_other_unknown_names_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning, the names alone."""
    with caplog.at_level(logging.WARNING, logger="jwtgate"):
        from_env(colour=SECRET, something_else=SECRET, jwks_file_file="/x")
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in ("JWTGATE_COLOUR", "JWTGATE_SOMETHING_ELSE", "JWKS_FILE_FILE"))
    assert SECRET not in record.getMessage()


def test_other_names_are_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    """Only JWTGATE_* is looked at."""
    Settings.from_env({"JWTGATE_SECRET": SECRET, "SECRET": "x", "XJWTGATE_LEASE": "x", "jwtgate_lease": "x"})
    assert not caplog.records


def test_all_mistakes_come_at_once() -> None:
    """Names, parsing, validation, agreements and keys in one error."""
    found = mistakes(secret="short", lesae="1", grace="x", mode="maybe", cookie_secure="0", strict="")
    names = ["LESAE", "GRACE", "MODE", "COOKIE", "STRICT", "SECRET"]
    assert len(found) == 6 and all(any(f"JWTGATE_{name} " in mistake for mistake in found) for name in names[:5])
    assert "JWTGATE_SECRET" in found[5]


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [("", "", 0), ("abc", "", 3), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ab", "ba", 1), ("abcd", "badc", 2)],
)
def test_distance_counts_letters(one: str, other: str, letters: int) -> None:
    """Added, dropped, changed, or swapped with the neighbour."""
    assert distance(one, other) == letters == distance(other, one)


@given(one=st.text("ab", max_size=6), other=st.text("ab", max_size=6))
def test_distance_is_symmetric_and_bounded(one: str, other: str) -> None:
    """It is 0 for equals alone, and never more than the longer length."""
    assert distance(one, other) == distance(other, one) <= max(len(one), len(other))
    assert (distance(one, other) == 0) is (one == other)


@pytest.mark.parametrize("text", ['["a","b"]', "['a', 'b']", ' ["a"]'])
def test_list_as_json_is_a_mistake(text: str) -> None:
    """It would be taken apart at its commas, and nothing would ever match."""
    with pytest.raises(SettingsError, match=r"JWTGATE_AUDIENCE is written as JSON or Python, .*allowed: a list of audiences"):
        Settings.from_env({"JWTGATE_SECRET": "s" * 32, "JWTGATE_AUDIENCE": text})
