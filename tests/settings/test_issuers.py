"""JWTGATE_ISSUERS: several issuers, each with its own keys."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest
from keymaking import make_pairs

from jwtgate import Gate
from jwtgate.cli.key_files import KeyFiles, new_key
from jwtgate.configuring import policy_of_sessions
from jwtgate.errors import SettingsError
from jwtgate.runtime import rekeying
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


def test_one_entry_may_sign_and_the_others_then_verify_alone(tmp_path: Path) -> None:
    """Of one issuer alone can be said that its tokens are made here; a partner who has a secret says nothing of our log."""
    path = tmp_path / "own.pem"
    path.write_text(make_pairs()["p256"].private_pem)
    settings = Settings(issuers=[A, {"issuer": "https://ours", "private_key": path}, B])
    a, ours, b = settings.policies.values()
    assert (a.keys.signer, b.keys.signer) == (None, None) and ours.keys.signer is not None
    assert [key.is_own for policy in (a, ours, b) for key in policy.keys.keys] == [False, True, False]
    assert policy_of_sessions(settings.policies) is ours
    assert settings.key_files == (str(path),)


def test_keys_in_turn_may_sign_in_an_entry(tmp_path: Path) -> None:
    """As JWTGATE_PRIVATE_KEYS, and watched as it is."""
    path = tmp_path / "own.json"
    KeyFiles(path).write([new_key("ES256")])
    settings = Settings(issuers=[{"issuer": "https://ours", "private_keys": str(path)}, A])
    assert settings.policies["https://ours"].keys.signer is not None
    assert settings.key_files == (str(path),)


def test_secret_alone_signs_as_long_as_no_entry_is_ours() -> None:
    """The first of them, as ever."""
    policies = Settings(issuers=[A, B]).policies
    assert policy_of_sessions(policies) is policies["https://a"]
    assert all(policy.keys.signer is not None for policy in policies.values())


def test_two_entries_that_sign_are_one_mistake_with_both_names() -> None:
    """Whose tokens would ``issue`` make?"""
    key = make_pairs()["p256"].private_pem
    (mistake,) = mistakes([A | {"private_key": key}, B, {"issuer": "c", "private_key": key}])
    assert mistake.startswith("JWTGATE_ISSUERS[0].private_key and JWTGATE_ISSUERS[2].private_key are set; allowed: one ")
    assert key[30:60] not in mistake


def test_keys_in_turn_stand_alone_in_an_entry(tmp_path: Path) -> None:
    """Which of two would sign?"""
    path = tmp_path / "own.json"
    KeyFiles(path).write([new_key("ES256")])
    (mistake,) = mistakes([A | {"private_keys": path}])
    assert mistake.startswith("JWTGATE_ISSUERS[0].secret is set beside private_keys")


def test_gate_of_several_issuers_issues_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, sessions and the watch over the key file are those of the entry that signs."""
    monkeypatch.setattr(rekeying, "LOOK_SECONDS", 0.0)
    path = tmp_path / "own.json"
    KeyFiles(path).write([new_key("ES256")])
    entries = [A, {"issuer": "https://ours", "private_keys": str(path), "audience": ["api"]}]
    with closing(Gate(Settings(issuers=entries, lease=0.2))) as gate:
        before = jwt.get_unverified_header(gate.issue("alice"))["kid"]
        path.unlink()
        KeyFiles(path).write([new_key("ES256")])
        assert jwt.get_unverified_header(gate.issue("alice"))["kid"] != before
        for token in (gate.issue("alice"), gate.sessions.start("alice").access_token):
            assert gate.verify(token).issuer == "https://ours"


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


def test_slip_in_the_list_is_told_with_its_place() -> None:
    """Where JSON breaks, which members there are, which of the claims is wrong; nothing that a log could take for more."""
    (mistake,) = mistakes('[\n {"issuer": "https://a", "audience": "b",}]')
    assert mistake.startswith("JWTGATE_ISSUERS is not valid JSON (line 2, column ") and "jwks_url" in mistake
    (mistake,) = mistakes([A, B | {"claims": {"version": 7}}])
    assert mistake.startswith("JWTGATE_ISSUERS[1].claims has 'version', which ")
    (mistake,) = mistakes([A, B | {"a\nb\ud800": 7}])
    assert mistake.startswith("JWTGATE_ISSUERS[1].a\\nb\\ud800 is no member") and mistake.isprintable()


@pytest.mark.parametrize("name", ["secret", "public_key", "private_key", "jwks_file"])
def test_top_level_key_beside_issuers_is_a_mistake(name: str) -> None:
    """Of which issuer would it be?"""
    assert any(f"JWTGATE_{name.upper()} is set beside" in mistake for mistake in mistakes([A], **{name: SECRET}))


def test_issuer_beside_issuers_is_a_mistake() -> None:
    """One of the two."""
    assert "JWTGATE_ISSUER is set beside JWTGATE_ISSUERS" in mistakes([A], issuer="https://a")[0]
