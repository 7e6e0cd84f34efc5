"""JWTGATE_ISSUERS: several issuers, each with its own keys."""

import json
from pathlib import Path
from typing import Any

import pytest

from jwtgate.errors import SettingsError
from jwtgate.settings import Settings

SECRET = "s3cr3t-Kq7-" * 8
A = {"issuer": "https://a", "secret": SECRET, "audience": ["x"]}
B = {"issuer": "https://b", "secret": SECRET + "b", "leeway": 5, "typ": "at+jwt", "require": "sub", "max_ttl": 60}


def mistakes(issuers: Any, **given: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings(issuers=issuers, **given)
    assert SECRET not in str(caught.value)
    return caught.value.mistakes


@pytest.mark.parametrize("form", ["python", "json", "path", "path object"])
def test_list_may_be_python_json_or_a_path(form: str, tmp_path: Path) -> None:
    """Equal lists give equal settings, however they were given."""
    text = json.dumps([A, B], indent=1)
    path = tmp_path / "issuers.json"
    path.write_text(text)
    given: Any = {"python": (A, B), "json": text, "path": str(path), "path object": path}[form]
    settings = Settings(issuers=given)
    assert settings == Settings(issuers=[A, B])
    assert list(settings.policies) == ["https://a", "https://b"]


def test_entry_has_its_own_rules_and_else_those_of_the_top_level() -> None:
    """What an entry leaves out holds from the top level."""
    policies = Settings(issuers=[A, B], audience="top", leeway=1, handles="tenant").policies
    a, b = policies["https://a"], policies["https://b"]
    assert (a.namespace, a.audience, a.leeway_seconds, a.require) == ("https://a", ("x",), 1.0, ("exp",))
    assert (b.audience, b.leeway_seconds, b.typ, b.require, b.max_ttl_seconds) == (
        ("top",),
        5.0,
        "at+jwt",
        ("sub",),
        60,
    )
    assert a.handle_claims == b.handle_claims == ("tenant",)
    assert a.keys != b.keys


@pytest.mark.parametrize(
    ("member", "value"),
    [("foo", 1), ("leeway", "5"), ("leeway", True), ("audience", []), ("secret", 5), ("typ", None), ("issuer", "")],
)
def test_mistake_names_entry_and_member(member: str, value: object) -> None:
    """Entries are checked as the rows of the table are."""
    (mistake,) = mistakes([A, B | {member: value}])
    assert mistake.startswith(f"JWTGATE_ISSUERS[1].{member} ") and "allowed: " in mistake


def test_private_member_is_no_part_of_an_entry() -> None:
    """A foreign issuer signs its tokens itself."""
    assert "JWTGATE_ISSUERS[0].private_key is no member" in mistakes([A | {"private_key": "x"}])[0]


def test_entry_needs_issuer_and_key() -> None:
    """Every mistake of every entry is told."""
    found = mistakes([{"secret": SECRET}, {"issuer": "b"}])
    assert found[0].startswith("JWTGATE_ISSUERS[0].issuer is missing")
    assert found[1].startswith("JWTGATE_ISSUERS[1] has no key")


def test_bad_key_is_told_with_its_entry(tmp_path: Path) -> None:
    """Short secrets and missing files belong to an entry."""
    found = mistakes([A, B | {"secret": "short"}, {"issuer": "c", "jwks_file": str(tmp_path / "none.json")}])
    assert len(found) == 2
    assert "JWTGATE_ISSUERS[1]" in found[0]
    assert found[1].startswith("JWTGATE_ISSUERS[2].jwks_file names ")


def test_each_issuer_comes_once() -> None:
    """Two entries of one issuer would make its keys a matter of order."""
    assert "JWTGATE_ISSUERS[1].issuer is that of an earlier entry" in mistakes([A, A])[0]


@pytest.mark.parametrize(
    "value",
    [[], "[]", {}, "{}", 5, b"[]", ["x"], [[]], "[1]", "[", "[NaN,]", '[{"issuer":"a","issuer":"b"}]', "[" * 100_000]
    + [json.dumps(A), A],
)
def test_list_must_be_a_list_of_objects(value: object) -> None:
    """Anything else is one mistake of the row, without its text."""
    (mistake,) = mistakes(value)
    assert mistake.startswith("JWTGATE_ISSUERS ") and "JSON list" in mistake


@pytest.mark.parametrize("name", ["secret", "public_key", "private_key", "jwks_file"])
def test_top_level_key_beside_issuers_is_a_mistake(name: str) -> None:
    """Of which issuer would it be?"""
    assert any(f"JWTGATE_{name.upper()} is set beside" in mistake for mistake in mistakes([A], **{name: SECRET}))


def test_issuer_beside_issuers_is_a_mistake() -> None:
    """One of the two."""
    assert "JWTGATE_ISSUER is set beside JWTGATE_ISSUERS" in mistakes([A], issuer="https://a")[0]
