"""What is wrong with settings that work. Pure: no store is asked."""

from __future__ import annotations

import json
import secrets

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jwtgate import Settings
from jwtgate.auditing import audit_settings, weaknesses_of_mistakes
from jwtgate.errors import SettingsError
from jwtgate.stores.contract import Weakness

RANDOM = "kT0Zb8yqW3v-XrLm5Jd7uHf2_PcGnE9aQsVtB4iC"


def audited(environ: dict[str, str] | None = None, **settings: object) -> tuple[Weakness, ...]:
    """Of settings that are good but for what is given."""
    good: dict[str, object] = {"secret": RANDOM, "audience": ["api"], "store": "redis://localhost"}
    return audit_settings(Settings(**{**good, **settings}), environ or {})  # type: ignore[arg-type]


def only(found: tuple[Weakness, ...]) -> Weakness:
    """The one that was found."""
    (finding,) = found
    return finding


def public_pem() -> str:
    """Of a key pair of somebody else."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def issuers(*entries: dict[str, object]) -> dict[str, object]:
    """Settings with several issuers."""
    return {"secret": None, "audience": None, "issuers": [{"issuer": f"https://{i}", **e} for i, e in enumerate(entries)]}


def test_good_settings_have_nothing() -> None:
    """No nagging: the defaults, a secret, an audience, a store."""
    assert audited() == ()


def test_sessions_whose_tokens_would_be_refused_are_a_hint() -> None:
    """RFC 9068 §2.2 requires client_id; a process with the secret may be one that only verifies."""
    own: dict[str, object] = {"issuer": "https://own.example", "preset": "rfc9068"}
    finding = only(audited(**own))
    assert (finding.about, finding.severity) == ("JWTGATE_CLIENT_ID", "hint")
    assert audited(**own, client_id="shop") == ()


def test_lists_under_a_secret_are_a_hint() -> None:
    """draft-ietf-oauth-status-list §5.1 allows a MAC; whoever can check one can make tokens."""
    lists: dict[str, object] = {"endpoints": "/auth", "status_lists": "https://api.example/auth/status"}
    finding = only(audited(**lists))
    assert (finding.about, finding.severity) == ("JWTGATE_STATUS_LISTS", "hint")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert audited(**lists, secret=None, private_key=key.decode()) == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": "https://me", "locations": ["cookie"], "endpoints": "/auth"},
        {"locations": ["header", "cookie"], "csrf": "double-submit"},
        {"csrf": "off"},
        {"on_store_down": "cached"},
        {"leeway": 30.0, "max_ttl": 3600.0, "lease": 2.0, "max_sessions": 5, "validity": "allowlist"},
        {"secret": None, "public_key": public_pem(), "issuer": "https://idp"},
        {"secret": secrets.token_hex(32)},
    ],
)
def test_ordinary_settings_have_nothing(settings: dict[str, object]) -> None:
    """Each is what somebody runs, and means what it says."""
    assert audited(**settings) == ()


@pytest.mark.parametrize(
    ("settings", "remedy", "remedied"),
    [
        ({"audience": None}, "JWTGATE_AUDIENCE=<the name of this service, as in the claim aud>", {"audience": ["api"]}),
        ({"cookie_secure": False, "cookie": "token"}, "JWTGATE_COOKIE_SECURE=1", {"cookie_secure": True}),
        ({"csrf": "off", "locations": ["cookie"]}, "JWTGATE_CSRF=fetch-metadata", {"csrf": "fetch-metadata"}),
        ({"on_store_down": "admit"}, "JWTGATE_ON_STORE_DOWN=refuse", {"on_store_down": "refuse"}),
        ({"on_store_down": "cached", "grace": 3600.0}, "JWTGATE_GRACE=30", {"grace": 30.0}),
        (
            {"client_cert": "Client-Cert", "trusted_proxies": ["10.0.0.7", "::/0"]},
            "JWTGATE_TRUSTED_PROXIES=<the addresses of the proxies>",
            {"trusted_proxies": ["10.0.0.0/8"]},
        ),
        (
            {"dpop": "on", "resource": "https://a.example/v1", "public_url": "https://b.example/v1"},
            "JWTGATE_PUBLIC_URL=<of the origin of JWTGATE_RESOURCE>",
            {"public_url": "https://a.example/v1"},
        ),
    ],
)
def test_what_breaks_promise_or_safety_is_a_problem(
    settings: dict[str, object], remedy: str, remedied: dict[str, object]
) -> None:
    """Told with the line that mends it, and mended by it."""
    finding = only(audited(**settings))
    assert (finding.severity, finding.about, finding.remedy) == ("problem", remedy.partition("=")[0], remedy)
    assert audited(**{**settings, **remedied}) == ()


@pytest.mark.parametrize(
    ("settings", "about"),
    [
        ({"audience": ["*"]}, "JWTGATE_AUDIENCE"),
        ({"leeway": 600.0}, "JWTGATE_LEEWAY"),
        ({"max_ttl": 31536000.0}, "JWTGATE_MAX_TTL"),
        ({"lease": 10.0}, "JWTGATE_LEASE"),
        ({"on_store_down": "cached", "grace": 120.0}, "JWTGATE_GRACE"),
        ({"secret": None, "public_key": public_pem()}, "JWTGATE_ISSUER"),
    ],
)
def test_what_is_somebodys_choice_is_a_hint(settings: dict[str, object], about: str) -> None:
    """Advice, which fails no check."""
    finding = only(audited(**settings))
    assert (finding.severity, finding.about) == ("hint", about)


def test_grace_says_how_long_a_dead_token_may_live() -> None:
    """In seconds."""
    assert "7200 s" in only(audited(on_store_down="cached", grace=7200.0)).problem


@pytest.mark.parametrize(
    "secret",
    [
        "s" * 32,
        "abcabcab" * 5,
        "Kq7-Zb8yqW3v" * 4,
        "your-256-bit-secret-0123456789-abc",
        "CHANGE_ME-kT0Zb8yqW3vXrLm5Jd7uHf2PcGnE9a",
        "super-SECRET-kT0Zb8yqW3vXrLm5Jd7uHf2PcG",
        "django-insecure-kT0Zb8yqW3vXrLm5Jd7uHf2PcG",
    ],
)
def test_guessable_secret_is_a_problem_and_never_shown(secret: str) -> None:
    """Long enough for Settings, and worth nothing."""
    finding = only(audited(secret=secret))
    assert (finding.severity, finding.about) == ("problem", "JWTGATE_SECRET")
    assert secret not in str(finding)


@pytest.mark.parametrize("chance", ["abcdef", "123456", "PassW", "qwErt", "your_X"])
def test_word_that_stands_in_random_text_by_chance_is_none(chance: str) -> None:
    """Of few letters: among many deployments some have it."""
    assert not audited(secret=f"{RANDOM[:20]}{chance}{RANDOM[20:]}")


def test_random_secrets_are_not_taken_for_guessable() -> None:
    """A doctor that cries wolf is not called again."""
    made = [secrets.token_hex(32) for _ in range(300)] + [secrets.token_urlsafe(48) for _ in range(300)]
    assert not [secret for secret in made if audited(secret=secret)]


def test_secrets_of_issuers_are_judged_by_entry() -> None:
    """Same secret, guessable secret, no audience: each named with its place."""
    entries = issuers({"secret": RANDOM, "audience": ["api"]}, {"secret": RANDOM}, {"secret": "s" * 32, "audience": ["api"]})
    found = {(finding.about, finding.severity) for finding in audited(**entries)}
    assert found == {
        ("JWTGATE_ISSUERS[1].secret", "problem"),
        ("JWTGATE_ISSUERS[2].secret", "problem"),
        ("JWTGATE_ISSUERS[1].audience", "problem"),
        ("JWTGATE_ISSUERS", "hint"),
    }


def test_issuers_with_public_keys_have_nothing() -> None:
    """As it should be."""
    assert (
        audited(**issuers({"public_key": public_pem(), "audience": ["a"]}, {"public_key": public_pem(), "audience": ["a"]}))
        == ()
    )


@pytest.mark.parametrize(("count", "severities"), [("", []), ("1", []), ("four", []), ("4", ["problem"])])
def test_memory_with_several_workers_is_a_problem(count: str, severities: list[str]) -> None:
    """A logout would reach one of them. That memory is memory, the store says itself."""
    found = audited({"WEB_CONCURRENCY": count}, store="memory://")
    assert [finding.severity for finding in found] == severities
    assert audited({"WEB_CONCURRENCY": count}) == ()


@pytest.mark.parametrize(("path", "is_hint"), [("gate.db", True), ("/var/lib/gate.db", False), ("C:/gate.db", False)])
def test_relative_path_of_a_database_is_a_hint(path: str, is_hint: bool) -> None:
    """Each folder in which something is started would have a database of its own."""
    found = audited(store=f"sqlite:///{path}")
    assert [(finding.severity, finding.about) for finding in found] == [("hint", "JWTGATE_STORE")] * is_hint


def test_secret_in_the_environment_is_a_hint() -> None:
    """A file is better, and no check fails for it."""
    finding = only(audited({"JWTGATE_SECRET": RANDOM}))
    assert (finding.severity, finding.remedy[:20]) == ("hint", "JWTGATE_SECRET_FILE=")
    assert RANDOM not in str(finding)


def test_skipped_keys_are_hints(tmp_path: object) -> None:
    """What Settings warns of."""
    sound = {"kty": "oct", "k": "A" * 64, "kid": "one", "alg": "HS256"}
    path = tmp_path / "jwks.json"  # type: ignore[operator]
    path.write_text(json.dumps({"keys": [sound, {"kty": "odd", "kid": "two"}]}))
    found = audited(secret=None, jwks_file=str(path), issuer="https://idp")
    assert [(finding.severity, finding.about) for finding in found] == [("hint", "JWTGATE_JWKS_FILE")]


def mistakes_of(**environ: str) -> tuple[Weakness, ...]:
    """What an environment's mistakes become."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"JWTGATE_{name}": value for name, value in environ.items()})
    return weaknesses_of_mistakes(caught.value.mistakes)


@pytest.mark.parametrize(
    ("environ", "about", "remedy"),
    [
        ({"SECRET": RANDOM, "LEASE": "soon"}, "JWTGATE_LEASE", "JWTGATE_LEASE=<a number from 0.05 to 60>"),
        ({"SECRET": RANDOM, "LESAE": "1"}, "JWTGATE_LESAE", "unset JWTGATE_LESAE  # JWTGATE_LEASE, if that was meant"),
        ({"SECRET": RANDOM, "STORE": "mongodb://h"}, "JWTGATE_STORE", "JWTGATE_STORE=<memory://, redis://"),
        ({"SECRET": "short"}, "JWTGATE_SECRET", "JWTGATE_SECRET=<what this prints"),
        ({}, "JWTGATE_SECRET", "JWTGATE_SECRET=<what this prints"),
    ],
)
def test_each_mistake_is_a_problem_with_a_line(environ: dict[str, str], about: str, remedy: str) -> None:
    """Named by its variable."""
    finding = only(mistakes_of(**environ))
    assert (finding.severity, finding.about) == ("problem", about)
    assert finding.remedy.startswith(remedy)
    assert finding.problem.endswith(".") and "allowed:" not in finding.problem


def test_all_mistakes_are_found_at_once() -> None:
    """One each."""
    assert len(mistakes_of(SECRET="short", LEASE="x", MODE="maybe")) == 3


def test_remedies_of_settings_are_one_line() -> None:
    """To be copied."""
    worst = audited(
        {"JWTGATE_SECRET": "x", "WEB_CONCURRENCY": "2"}, secret="s" * 32, audience=None, lease=10.0, store="memory://"
    )
    assert len(worst) == 5
    assert all("\n" not in finding.remedy and finding.problem.endswith(".") for finding in worst)


def test_missing_library_has_its_own_line_as_remedy() -> None:
    """No other value of the setting mends it."""
    (found,) = weaknesses_of_mistakes(("JWTGATE_STORE is an SQL database and needs sqlalchemy: pip install 'jwtgate[sql]'.",))
    assert (found.problem, found.remedy) == (
        "JWTGATE_STORE is an SQL database and needs sqlalchemy.",
        "pip install 'jwtgate[sql]'",
    )
