"""Settings: every row of the table of interface.md §3, alone and together."""

import dataclasses
import math
import subprocess
import sys
from collections import UserString
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.errors import SettingsError
from jwtgate.settings import Settings, variables

SECRET = "s3cr3t-Kq7-" * 8
PASSWORD = "hunter2pw"

DEFAULTS = {
    "secret": None,
    "private_key": None,
    "private_keys": None,
    "derived_keys": False,
    "public_key": None,
    "jwks_file": None,
    "jwks_url": None,
    "jwks_stale": 3600,
    "jwks_http": False,
    "status_from": None,
    "algorithms": None,
    "issuer": None,
    "audience": None,
    "issuers": None,
    "preset": None,
    "require": ("exp",),
    "leeway": 0,
    "typ": None,
    "max_ttl": 2592000,
    "store": "memory://",
    "journal": None,
    "prefix": "jwtgate",
    "validity": "denylist",
    "order": "store-first",
    "handles": None,
    "version_claim": None,
    "locations": ("header",),
    "cookie": "__Host-access_token",
    "refresh_cookie": "__Secure-refresh_token",
    "cookie_secure": True,
    "csrf": "fetch-metadata",
    "origins": None,
    "mode": "required",
    "exempt": None,
    "live": ("close",),
    "ws_close": 4401,
    "lease": 1.0,
    "poll": 0.25,
    "durability": "0",
    "cache_size": 65536,
    "view_limit": 200000,
    "on_store_down": "refuse",
    "grace": 30,
    "strict": False,
    "max_token_bytes": 8192,
    "access_ttl": 900,
    "client_id": None,
    "refresh_ttl": 2592000,
    "idle_ttl": None,
    "max_sessions": None,
    "refresh_grace": 30,
    "rotate_after": None,
    "endpoints": None,
    "devices": False,
    "status_lists": None,
    "status_ttl": 30,
    "clients": None,
    "logout_audience": None,
    "events_audience": None,
    "events_authorization": None,
    "realm": "jwtgate",
    "resource": None,
    "resource_scopes": None,
    "partitions": 1,
    "dpop": "off",
    "dpop_algorithms": ("ES256", "EdDSA", "ES384", "ES512", "PS256", "RS256"),
    "dpop_window": 60,
    "dpop_nonce_secret": None,
    "public_url": None,
    "client_cert": "tls",
    "trusted_proxies": None,
}

NUMBERS = (
    "jwks_stale",
    "leeway",
    "max_ttl",
    "lease",
    "poll",
    "cache_size",
    "view_limit",
    "grace",
    "max_token_bytes",
    "access_ttl",
    "refresh_ttl",
    "idle_ttl",
    "max_sessions",
    "refresh_grace",
    "rotate_after",
    "dpop_window",
    "status_ttl",
    "ws_close",
    "partitions",
)
LISTS = (
    "status_from",
    "algorithms",
    "audience",
    "require",
    "handles",
    "locations",
    "origins",
    "exempt",
    "live",
    "clients",
    "resource_scopes",
    "dpop_algorithms",
    "trusted_proxies",
)
FLAGS = ("cookie_secure", "strict", "jwks_http", "derived_keys")
TEXTS = tuple(name for name in DEFAULTS if name not in (*NUMBERS, *LISTS, *FLAGS, "issuers"))


def mistakes(**given: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings(**{"secret": SECRET, **given})  # type: ignore[arg-type]
    assert SECRET not in str(caught.value) and PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None, "a chained error would tell what ours keeps back"
    return caught.value.mistakes


def public_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


# Rows


def test_defaults_are_those_of_the_interface() -> None:
    """Every row of the table has its default, and there is no row besides."""
    settings = Settings(secret=SECRET)
    rows = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Settings) if field.init}
    assert rows == DEFAULTS | {"secret": SECRET}


def test_variables_tell_every_row() -> None:
    """One line per variable: default as the environment spells it, a sentence, and what is allowed."""
    told = {variable.name: variable for variable in variables()}
    assert list(told) == [f"JWTGATE_{name.upper()}" for name in DEFAULTS]
    assert (told["JWTGATE_MAX_TTL"].default, told["JWTGATE_COOKIE_SECURE"].default) == ("2592000", "1")
    assert (told["JWTGATE_REQUIRE"].default, told["JWTGATE_SECRET"].default) == ("exp", "")
    assert all(variable.meaning.endswith(".") and variable.allowed for variable in told.values())


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1, True, "5", [], 10**400, pytest.param(10**5000, id="huge")]
)
def test_number_is_finite_and_not_negative_and_no_boolean(name: str, value: object) -> None:
    """NaN, infinities, negatives, booleans and other types are mistakes in every number."""
    assert any(f"JWTGATE_{name.upper()} " in mistake for mistake in mistakes(**{name: value}))


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("value", [[], (), "", " ", [""], [None], [1], b"abc", 5, {"a"}, ["\ud800"], ["a\0"]])
def test_list_holds_text_and_is_not_empty(name: str, value: object) -> None:
    """Empty lists, empty items, other types, lone surrogates and controls are mistakes in every list."""
    assert any(f"JWTGATE_{name.upper()} " in mistake for mistake in mistakes(**{name: value}))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["", " ", b"abc", 5, ["a"], UserString("x"), "\ud800"])
def test_text_is_text_and_not_blank(name: str, value: object) -> None:
    """Blank text, other types and lone surrogates are mistakes in every text."""
    assert any(f"JWTGATE_{name.upper()} " in mistake for mistake in mistakes(**{name: value}))


@pytest.mark.parametrize("name", [name for name, default in DEFAULTS.items() if default is not None])
def test_none_is_a_mistake_where_there_is_a_default(name: str) -> None:
    """None means unset only where unset means something."""
    assert f"JWTGATE_{name.upper()} is None" in mistakes(**{name: None})[0]


WRONG = [
    ("algorithms", ["none"], "HS256"),
    ("algorithms", ["NONE"], "HS256"),
    ("algorithms", ["HS256", "HS257"], "EdDSA"),
    ("issuer", "a\nb", "iss"),
    ("audience", ["*", "api"], "*"),
    ("require", ["ex p"], "claim names"),
    ("leeway", 3601, "3600"),
    ("typ", "at jwt", "at+jwt"),
    ("max_ttl", 0, "from 1 "),
    ("max_ttl", 10**12, "315360000"),
    ("store", "mysql://u:hunter2pw@h/db", "redis://"),
    ("store", "hunter2pw", "memory://"),
    ("store", "redis://u:hunter2pw@h:70000", "redis://"),
    ("store", "redis://u:hunter2pw@", "redis://"),
    ("store", "redis://:hunter2pw/x@h", "redis://"),
    ("store", "redis://:hunter2pw@h/db", "redis://"),
    ("store", "redis://h/0 ?password=hunter2pw", "redis://"),
    ("store", "memory://x", "memory://"),
    ("store", "redis://h/0#hunter2pw", "redis://"),
    ("store", "unix://", "unix://"),
    ("prefix", "a{b}", "1 to 64"),
    ("prefix", "a" * 65, "1 to 64"),
    ("validity", "Denylist", "denylist"),
    ("order", "store", "verify-first"),
    ("handles", ["tenant", "sub"], "8 claim names"),
    ("handles", list("abcdefghk"), "8 claim names"),
    ("version_claim", "a b", "claim name"),
    ("locations", ["headers"], "header, cookie"),
    ("cookie", "a b", "RFC 6265"),
    ("cookie", "a=b", "RFC 6265"),
    ("refresh_cookie", "ä", "RFC 6265"),
    ("refresh_cookie", "__Host-access_token", "different"),
    ("cookie_secure", 2, "1 or 0"),
    ("cookie_secure", "0", "1 or 0"),
    ("cookie_secure", 0.0, "1 or 0"),
    pytest.param("strict", 10**5000, "1 or 0", id="huge"),
    ("csrf", "on", "fetch-metadata, double-submit, off"),
    ("endpoints", "auth", "/auth"),
    ("endpoints", "/", "/auth"),
    ("endpoints", "/auth/", "/auth"),
    ("endpoints", "/a/../b", "/auth"),
    ("client_id", "a:b", "colon"),
    ("clients", ["gateway:hunter2pw"], "SHA-256"),
    ("rotate_after", 0, "from 1 "),
    ("max_sessions", 1001, "1000"),
    ("mode", "anonymous", "required, optional"),
    ("lease", 0.04, "0.05 to 60"),
    ("lease", 61, "0.05 to 60"),
    ("cache_size", 0, "whole number from 1"),
    ("cache_size", 1.0, "whole number from 1"),
    ("view_limit", 10**9, "100000000"),
    ("on_store_down", "ignore", "refuse, cached, admit"),
    ("grace", 86401, "86400"),
    ("max_token_bytes", 255, "256"),
    ("max_token_bytes", 1048577, "1048576"),
    ("access_ttl", 0, "above 0"),
    ("refresh_ttl", 0, "above 0"),
    ("refresh_grace", 3601, "3600"),
    ("realm", 'a"b', "ASCII"),
    ("realm", "a\\b", "ASCII"),
    ("realm", "ä", "ASCII"),
    ("partitions", 0, "1"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_mistake_names_variable_and_what_is_allowed(name: str, value: object, allowed: str) -> None:
    """One mistake, one sentence: the variable, what was found, what may be; no secret, no password."""
    (mistake,) = mistakes(**{name: value})
    assert mistake.startswith(f"JWTGATE_{name.upper()} ")
    assert allowed in mistake.partition("allowed: ")[2]


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*", "https://a/", "https://a/b", "a.example", "https://", "https://a?b", "https://a#", "null"]
    + [
        "https://u@a",
        "https://a:99999",
        "https://a:",
        "https://[::1",
        "https://[1::zz]",
        "https://[fe80::1%25eth0]",
        "https://ä.example",
    ],
)
def test_origin_is_scheme_host_and_port(origin: str) -> None:
    """RFC 6454 §6.1: nothing else is ever sent as an Origin, so nothing else could match."""
    (mistake,) = mistakes(origins=[origin])
    assert mistake.startswith("JWTGATE_ORIGINS has an item") and "scheme://host" in mistake


def test_origins_are_held_as_browsers_send_them() -> None:
    """Lower case, no default port, IPv6 compressed; each once."""
    given = ["HTTPS://App.Example:443", "https://app.example", "http://a:8080", "http://[0:0::1]:80"]
    assert Settings(secret=SECRET, origins=given).origins == ("https://app.example", "http://a:8080", "http://[::1]")


@pytest.mark.parametrize(
    "path",
    ["a", "*", "/a*", "/a/*/b", "/*/*", "/a/../b", "/.", "/a/./*", "//a", "/a//b", "/a//*", "//*", "/a%2fb", "/a?b"]
    + ["/a\\b", "/a\0", "/a\n", "/a /b"],
)
def test_exempt_pattern_is_a_plain_path(path: str) -> None:
    """What no honest decoded path holds is a mistake, not a pattern that never matches (threats.md 24)."""
    (mistake,) = mistakes(exempt=[path])
    assert mistake.startswith("JWTGATE_EXEMPT has an item") and "start with /" in mistake


def test_exempt_patterns_are_kept_as_given() -> None:
    """Whole paths, and all below a segment."""
    given = ["/", "/health", "/static/*", "/*", "/a.b/..c"]
    assert Settings(secret=SECRET, exempt=given).exempt == tuple(given)


@pytest.mark.parametrize("name", ["jti", "sid", "sub", "client_id", "all", "signing_input", "iss", "aud", "exp"])
def test_handle_is_no_built_in_kind(name: str) -> None:
    """A configured claim never shadows a kind that is there already."""
    assert "reserved" in mistakes(handles=[name])[0]


def test_bare_text_is_a_list_of_one() -> None:
    """In Python a string stands for itself, and is never split at commas: one that has them was meant for the environment."""
    settings = Settings(secret=SECRET, audience="a", exempt="/health", locations="cookie", algorithms="HS256")
    assert (settings.audience, settings.exempt, settings.locations) == (("a",), ("/health",), ("cookie",))
    assert Settings(secret=SECRET, audience=["a,b"]).audience == ("a,b",)
    for name in ("audience", "exempt", "origins"):
        with pytest.raises(SettingsError, match=rf"JWTGATE_{name.upper()} is one text with a comma.*allowed: a list of"):
            Settings(**{"secret": SECRET, name: "/a,/b"})


def test_zero_and_one_are_yes_and_no() -> None:
    """The table writes booleans so, and Python may."""
    settings = Settings(secret=SECRET, cookie_secure=0, cookie="a", strict=1)  # type: ignore[arg-type]
    assert settings.cookie_secure is False and settings.strict is True


@pytest.mark.parametrize(
    "store", ["memory://", "redis://h", "rediss://u:p@h:6380/2?x=1", "unix:///run/r.sock?db=1", "redis://[::1]/0"]
)
def test_store_of_this_version_is_kept_as_given(store: str) -> None:
    """The URL reaches the store untouched."""
    assert Settings(secret=SECRET, store=store).store == store


def test_clients_are_only_called_through_endpoints() -> None:
    """Clients without endpoints would wait for ever: RFC 7662 and RFC 7009 need a place to call."""
    clients = [f"gateway:{'0' * 64}"]
    assert Settings(secret=SECRET, endpoints="/auth", clients=clients).clients == tuple(clients)
    (mistake,) = mistakes(clients=clients)
    assert "JWTGATE_ENDPOINTS" in mistake


@pytest.mark.parametrize("name", ["logout_audience", "events_audience"])
def test_providers_tell_a_named_issuer_through_endpoints(name: str) -> None:
    """Nobody could tell without a place to post to, and nobody is believed whose iss is not configured."""
    given = {"secret": SECRET, name: ["shop-web"]}
    assert getattr(Settings(**given, issuer="https://a.example", endpoints="/auth"), name) == ("shop-web",)
    (mistake,) = mistakes(**given, issuer="https://a.example")
    assert f"JWTGATE_{name.upper()}" in mistake and "JWTGATE_ENDPOINTS" in mistake
    (mistake,) = mistakes(**given, endpoints="/auth")
    assert f"JWTGATE_{name.upper()}" in mistake and "JWTGATE_ISSUER" in mistake
    assert len(mistakes(**{**given, name: ["*"]}, issuer="https://a.example", endpoints="/auth")) == 1


def test_each_issuer_calls_us_by_names_of_its_own() -> None:
    """What an entry leaves out holds from the top level; one that may tell of sessions marks the tokens of all."""
    entries = [
        {"issuer": "https://a.example", "secret": SECRET, "logout_audience": ["web", "app"]},
        {"issuer": "https://b.example", "secret": SECRET + "2", "events_audience": "api"},
    ]
    policies = Settings(issuers=entries, logout_audience="shop", endpoints="/auth").policies
    told = [(policy.logout_audience, policy.events_audience, policy.marks_sessionless) for policy in policies.values()]
    assert told == [(("web", "app"), None, True), (("shop",), ("api",), True)]
    (mistake,) = mistakes(secret=None, issuers=[{**entries[0], "logout_audience": "*"}], endpoints="/auth")
    assert mistake.startswith("JWTGATE_ISSUERS[0].logout_audience")


def test_issuer_of_which_nothing_is_admitted_tells_something() -> None:
    """Else it is there for nothing; and it makes no tokens of ours."""
    entry = {"issuer": "https://a.example", "public_key": public_pem(), "admits": "none"}
    (mistake,) = mistakes(secret=None, issuers=[entry])
    assert mistake.startswith("JWTGATE_ISSUERS[0].admits is none without")
    (policy,) = Settings(issuers=[{**entry, "events_audience": "api"}], endpoints="/auth").policies.values()
    assert policy.admits_nothing and policy.audience is None
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own = {"issuer": "https://a.example", "private_key": key.decode(), "admits": "none", "events_audience": "api"}
    (mistake,) = mistakes(secret=None, issuers=[own], endpoints="/auth")
    assert mistake.startswith("JWTGATE_ISSUERS[0].admits is set beside a private key")


def test_authorization_of_transmitters_is_a_secret() -> None:
    """Long enough not to be guessed, and in no repr and no mistake (threat 29)."""
    value = "Bearer hard-to-guess-text"
    settings = Settings(secret=SECRET, events_authorization=value)
    assert "guess" not in repr(settings)
    for wrong in ("short", "Bearer \u00e9" + "x" * 20, " Bearer with-space-before", "a" * 5000):
        (mistake,) = mistakes(secret=SECRET, events_authorization=wrong)
        assert wrong not in mistake and "JWTGATE_EVENTS_AUTHORIZATION" in mistake


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "Application/Logout+JWT", "application/secevent+jwt"])
def test_typ_is_not_that_of_what_providers_tell(typ: str) -> None:
    """No setting makes an access token of a logout token."""
    assert len(mistakes(secret=SECRET, typ=typ)) == 1


def test_no_cookie_has_the_name_of_the_csrf_cookie() -> None:
    """Two cookies of one name would hide each other."""
    assert Settings(secret=SECRET, refresh_cookie="csrf_access_token")
    (mistake,) = mistakes(csrf="double-submit", refresh_cookie="csrf_access_token")
    assert "JWTGATE_REFRESH_COOKIE" in mistake


def test_refresh_cookie_is_for_the_refresh_path() -> None:
    """``__Host-`` needs Path=/ (RFC 6265bis §4.1.3.2), and the refresh cookie has another."""
    assert Settings(secret=SECRET, refresh_cookie="__Host-r").refresh_cookie == "__Host-r"
    (mistake,) = mistakes(refresh_cookie="__Host-r", endpoints="/auth")
    assert "JWTGATE_REFRESH_COOKIE" in mistake


# Settings together


@pytest.mark.parametrize("store", ["memory://", "sqlite:///store.db", "postgresql+psycopg://h/d"])
def test_journal_goes_with_a_redis(store: str) -> None:
    """An SQL store remembers by itself, and the memory of one process can be given nothing back."""
    (mistake,) = mistakes(store=store, journal="sqlite:///journal.db")
    assert mistake.startswith("JWTGATE_JOURNAL ") and "JWTGATE_STORE" in mistake


@pytest.mark.parametrize("journal", ["sqlite:////var/lib/j.db", "postgresql+psycopg://u:hunter2pw@h/d", "mysql+pymysql://h/d"])
def test_journal_is_an_sql_database(journal: str) -> None:
    """Beside any Redis; what is none is said."""
    settings = Settings(secret=SECRET, store="redis://h", journal=journal)
    assert settings.journal == journal and PASSWORD not in repr(settings)
    (mistake,) = mistakes(store="redis://h", journal="redis://h")
    assert mistake.startswith("JWTGATE_JOURNAL ") and "no SQL database" in mistake


def test_all_mistakes_come_at_once() -> None:
    """One error tells every mistake, keys and agreements included."""
    found = mistakes(secret="short", lease=0, store="x", cookie_secure=False, on_store_down="cached", grace=0)
    names = ["JWTGATE_STORE", "JWTGATE_LEASE", "JWTGATE_COOKIE ", "JWTGATE_GRACE", "JWTGATE_SECRET"]
    assert len(found) == 5 and all(any(name in mistake for mistake in found) for name in names)


def test_no_key_is_a_mistake() -> None:
    """A gate without a key could admit nothing."""
    with pytest.raises(SettingsError) as caught:
        Settings()
    assert all(name in str(caught.value) for name in ("_SECRET", "_PUBLIC_KEY", "_JWKS_FILE", "_ISSUERS"))


def test_mistaken_key_is_not_also_missing() -> None:
    """One mistake is told once."""
    assert len(mistakes(secret=5)) == 1


def test_insecure_cookie_needs_a_plain_name() -> None:
    """Browsers drop __Host- and __Secure- cookies without Secure, whatever the letters' case."""
    assert "JWTGATE_COOKIE " in mistakes(cookie_secure=False)[0]
    assert "JWTGATE_COOKIE " in mistakes(cookie_secure=False, cookie="__host-a")[0]
    assert "JWTGATE_REFRESH_COOKIE " in mistakes(cookie_secure=False, cookie="a", refresh_cookie="__Secure-b")[0]


def test_default_refresh_cookie_loses_its_prefix_without_secure() -> None:
    """Nobody has chosen the default name, and no browser would take it."""
    assert Settings(secret=SECRET, cookie_secure=False, cookie="a").refresh_cookie == "refresh_token"


def test_access_token_lives_no_longer_than_the_gate_admits() -> None:
    """The gate would refuse what it issues; the default alone follows MAX_TTL."""
    assert "JWTGATE_ACCESS_TTL is 61" in mistakes(access_ttl=61, max_ttl=60)[0]
    assert Settings(secret=SECRET, max_ttl=60).access_ttl == 60


def test_durability_is_asked_of_redis_only() -> None:
    """What another store would ignore is a mistake."""
    assert "JWTGATE_DURABILITY" in mistakes(durability="fsync")[0]
    assert "JWTGATE_DURABILITY" in mistakes(durability="replicas:0", store="redis://h")[0]
    for store in ("redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/m", "redis+cluster://h"):
        assert Settings(secret=SECRET, durability="replicas:2", store=store).durability == "replicas:2"


@pytest.mark.parametrize(
    "store",
    [
        "redis+sentinel://a:1,b:2/m",
        "redis+sentinel://u:p@a,[::1]:2/m/3?sentinel_password=x",
        "redis+cluster://h",
        "redis+cluster://:p%2Fw@a:1,b:2/0?tls=1",
    ],
)
def test_several_hosts_are_a_store(store: str) -> None:
    """Sentinels with their service, or nodes of a cluster."""
    assert Settings(secret=SECRET, store=store).store == store


@pytest.mark.parametrize(
    "store",
    ["redis+sentinel://a:1,b:2", "redis+sentinel://a:1,b:2/", "redis+sentinel://a/m/x", "redis+sentinel:///m"]
    + ["redis+sentinel://a,,b/m", "redis+sentinel://a:0/m", "redis+sentinel://u:p/w@a/m", "redis+sentinel://a/m#x"]
    + ["redis+cluster://", "redis+cluster://h/1", "redis+cluster://h:x", "redis+cluster://h:99999", "redis+cluster://u:p/0@h"],
)
def test_incomplete_hosts_are_a_mistake(store: str) -> None:
    """No service, no host, a port that is none, a database of a cluster, a slash in a password, which is told."""
    mistake = mistakes(store=store)[0]
    assert "is not complete" in mistake
    assert ("percent-encoded" in mistake) == ("@" in store)


def test_cached_needs_grace() -> None:
    """ON_STORE_DOWN=cached with no time to act on it is refuse, misspelt."""
    assert "JWTGATE_GRACE is 0" in mistakes(on_store_down="cached", grace=0)[0]
    assert Settings(secret=SECRET, grace=0).grace == 0


# Keys and policies


def test_policy_of_one_namespace() -> None:
    """With neither ISSUER nor ISSUERS there is one namespace, the empty one (interface.md §2)."""
    settings = Settings(secret=SECRET, audience=["a"], handles=["tenant"], leeway=5, version_claim="ver", typ="at+jwt")
    (policy,) = settings.policies.values()
    assert list(settings.policies) == [None]
    assert (policy.issuer, policy.namespace, policy.audience) == (None, "", ("a",))
    assert (policy.handle_claims, policy.version_claim, policy.typ) == (("tenant",), "ver", "at+jwt")
    assert (policy.leeway_seconds, policy.max_ttl_seconds, policy.require) == (5.0, 2592000.0, ("exp",))


def test_issuer_is_the_namespace() -> None:
    """A handle belongs to the configured issuer."""
    settings = Settings(secret=SECRET, issuer="https://idp")
    assert settings.policies["https://idp"].namespace == "https://idp"


def test_policies_and_settings_cannot_be_changed() -> None:
    """What was checked stays what it was."""
    settings = Settings(secret=SECRET)
    with pytest.raises(TypeError):
        settings.policies["x"] = settings.policies[None]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.lease = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("form", ["text", "escaped", "path", "path object"])
def test_public_key_is_pem_text_or_path(form: str, tmp_path: Path) -> None:
    r"""PEM text, one line with \n, or a path, as text or object."""
    pem = public_pem()
    path = tmp_path / "key.pem"
    path.write_text(pem)
    given: str | Path = {"text": pem, "escaped": pem.replace("\n", "\\n"), "path": str(path), "path object": path}[form]  # type: ignore[assignment]
    assert list(Settings(public_key=given).policies) == [None]


@pytest.mark.parametrize("name", ["private_key", "public_key", "jwks_file"])
def test_unreadable_file_is_a_mistake_with_its_path(name: str) -> None:
    """The path helps, and is surely one."""
    (mistake,) = mistakes(secret=None, **{name: "/nonexistent/file.pem"})
    assert mistake.startswith(f"JWTGATE_{name.upper()} names '/nonexistent/file.pem'") and "No such file" in mistake


@pytest.mark.parametrize("value", [PASSWORD, f'{{"k": "{PASSWORD}"}}', f"MC4CAQAwBQYDK2Vw/{PASSWORD}", f"a\0{PASSWORD}"])
@pytest.mark.parametrize("name", ["private_key", "jwks_file", "issuers"])
def test_key_in_the_place_of_a_path_is_not_shown(name: str, value: str) -> None:
    """A key without its armour looks like a path to a program, and must not come out in a log."""
    assert f"JWTGATE_{name.upper()} " in mistakes(secret=None, **{name: value})[0]


def test_file_that_is_no_pem_is_a_mistake_without_its_text(tmp_path: Path) -> None:
    """Contents of a file are never told."""
    for content in (PASSWORD.encode(), b"\xff\x00" + PASSWORD.encode(), b"x" * (1024 * 1024 + 1)):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        assert "key.pem" in mistakes(secret=None, public_key=str(path))[0]


# Equality, hash, repr


def test_equal_settings_are_equal_and_hash_alike() -> None:
    """A process keeps one gate per equal settings, however the lists were given."""
    issuers: list[dict[str, Any]] = [
        {"issuer": "a", "secret": SECRET, "audience": "x"},
        {"issuer": "b", "secret": SECRET, "leeway": 1},
    ]
    swapped = [dict(reversed(entry.items())) for entry in issuers]
    one = Settings(issuers=issuers, audience=["x"], lease=1, exempt="/a")
    other = Settings(issuers=tuple(swapped), audience=("x",), lease=1.0, exempt=["/a"])
    assert one == other and hash(one) == hash(other)
    assert one != Settings(issuers=issuers[:1], audience=["x"], exempt="/a")
    assert Settings(secret=SECRET) != Settings(secret=SECRET + "x")


def test_replace_checks_again() -> None:
    """dataclasses.replace gives settings as sound as new ones."""
    settings = Settings(issuers=[{"issuer": "a", "secret": SECRET}], handles="tenant", origins="https://a")
    assert dataclasses.replace(settings, lease=2).lease == 2.0
    assert dataclasses.replace(settings) == settings
    with pytest.raises(SettingsError):
        dataclasses.replace(settings, lease=0)


def test_repr_shows_no_secret() -> None:
    """threats.md 29: no secret, key or password, in any form of the settings' text."""
    pem = public_pem()
    settings = Settings(secret=SECRET, public_key=pem, store=f"redis://u:{PASSWORD}@h/1?password={PASSWORD}", lease=2)
    many = Settings(issuers=[{"issuer": "a", "secret": SECRET}])
    for text in (repr(settings), str(settings), f"{settings}", repr(many)):
        assert SECRET not in text and PASSWORD not in text and pem[40:60] not in text
    assert "store='redis://u:***@h/1?password=***'" in repr(settings) and "lease=2.0" in repr(settings)


def test_settings_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings(…) reads only its arguments."""
    monkeypatch.setenv("JWTGATE_LEASE", "5")
    assert Settings(secret=SECRET).lease == 1.0


def test_settings_do_not_import_environs() -> None:
    """import jwtgate stays cheap: environs is for from_env alone."""
    code = "import sys, jwtgate.settings; sys.exit('environs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(name=st.sampled_from(list(DEFAULTS)), value=anything)
def test_any_value_is_taken_or_refused(name: str, value: object) -> None:
    """Whatever the value, there are settings that can be hashed, or a SettingsError; no other exception."""
    try:
        settings = Settings(**{"secret": SECRET, name: value})  # type: ignore[arg-type]
    except SettingsError as error:
        assert error.mistakes
    else:
        hash(settings)
