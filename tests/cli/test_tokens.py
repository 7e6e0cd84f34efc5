"""``jwtgate token``: mint prints a token and nothing else; inspect tells its reader the whole truth."""

from __future__ import annotations

import io
import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cli.commanding import SECRET, run
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from published import Provider
from servers import Server, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = SECRET[::-1]


def signed(secret: str = SECRET, **claims: Any) -> str:
    """By another issuer's library."""
    return jwt.encode({"sub": "alice", "jti": "7", "iat": time.time(), "exp": time.time() + 600, **claims}, secret, "HS256")


def segments(*parts: object) -> str:
    """A token of any JSON at all."""
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_minted_token_stands_alone_on_standard_output_and_is_admitted() -> None:
    """For ``$(…)``."""
    options = ["--scope", "read write", "--ttl", "60", "--claim", 'tenant="acme"', "--claim", 'roles=["a","b=c"]']
    ended = run("token", "mint", "alice", *options)
    assert ended.returncode == 0
    assert ended.stderr == ""
    gate = Gate(Settings(secret=SECRET))
    token = gate.verify(ended.stdout.removesuffix("\n"))
    gate.close()
    assert (token.subject, token.scopes) == ("alice", {"read", "write"})
    assert (token.claims["tenant"], token.claims["roles"]) == ("acme", ["a", "b=c"])
    assert token.claims["exp"] - token.claims["iat"] == 60


def test_minted_token_as_json_is_the_answer_of_a_token_endpoint() -> None:
    """RFC 6749 §5.1."""
    made = json.loads(run("token", "mint", "alice", "--json").stdout)
    assert set(made) == {"access_token", "token_type", "expires_in"}
    assert (made["token_type"], made["expires_in"]) == ("Bearer", 900)
    assert jwt.decode(made["access_token"], SECRET, ["HS256"])["sub"] == "alice"


@pytest.mark.parametrize(
    "options",
    [
        ["--claim", "tenant=hidden"],
        ["--claim", "tenant=NaN"],
        ["--claim", "tenant"],
        ["--claim", "a=1", "--claim", "a=2"],
        ["--claim", 'sub="hidden"'],
        ["--claim", "deep=" + "[" * 100_000],
        ["--scope", 'hidden"'],
        ["--ttl", "0"],
        ["--ttl", "nan"],
    ],
)
def test_what_cannot_be_minted_is_wrong_usage(options: list[str]) -> None:
    """One line, without the value."""
    ended = run("token", "mint", "alice", *options)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "hidden" not in ended.stderr


def test_nothing_to_sign_with_is_a_mistake_in_the_settings() -> None:
    """A gate with a public key verifies only; the line names what is missing."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    ended = run("token", "mint", "alice", SECRET="", PUBLIC_KEY=pem)
    assert ended.returncode == 2
    assert "JWTGATE_PRIVATE_KEY" in ended.stderr


def test_every_mistake_in_the_settings_is_told() -> None:
    """At once, a line each, and never a secret."""
    ended = run("token", "mint", "alice", LEASE="soon", MODE="maybe", SECRET="hidden")
    assert ended.returncode == 2
    assert {line.split()[1].strip(":") for line in ended.stderr.splitlines()} == {
        "JWTGATE_LEASE",
        "JWTGATE_MODE",
        "JWTGATE_SECRET",
    }
    assert "hidden" not in ended.stderr


def test_admitted_token_is_shown_with_times_in_words() -> None:
    """Status 0."""
    ended = run("token", "inspect", text=f"\n {signed()}\n")
    assert ended.returncode == 0
    assert ended.stdout.startswith("Admitted")
    for text in ("alice", "HS256", "(in 10 min)", " ago)", "memory://"):
        assert text in ended.stdout
    assert "UNVERIFIED" not in ended.stdout


REFUSED = [
    (lambda: signed(exp=time.time() - 7200), "expired", "2 h ago"),
    (lambda: signed(OTHER), "bad_signature", "alice"),
    (lambda: signed(nbf=time.time() + 7200), "not_yet_valid", "in 2 h"),
    (lambda: signed(aud="them"), "wrong_audience", "them"),
    (lambda: signed(events={}), "wrong_type", "events"),
    (lambda: signed(exp="soon"), "malformed", "soon"),
    (lambda: signed(exp=1e300), "malformed", "no date at all"),
    (lambda: segments({"alg": "none"}, {"sub": "\x1b[2J\u202e"}, {}), "unknown_key", "\\u202e"),
    (lambda: segments({"alg": "HS256", "kid": "\x1b]0;x"}, {"x": {"y": ["\x9b"]}}, {}), "bad_signature", "\\x9b"),
    (lambda: segments({}, {}, {}), "malformed", "claims"),
]


@pytest.mark.parametrize(("made", "reason", "shown"), REFUSED, ids=[f"{row[1]}-{index}" for index, row in enumerate(REFUSED)])
def test_refused_token_is_shown_with_the_precise_reason_and_marked(made: Callable[[], str], reason: str, shown: str) -> None:
    """Status 1; whatever a stranger wrote into it, the terminal stays the operator's."""
    token = made()
    ended = run("token", "inspect", text=token)
    assert ended.returncode == 1, ended.stderr
    assert f"Refused: {reason} (" in ended.stdout
    assert "UNVERIFIED" in ended.stdout
    assert shown in ended.stdout
    assert not {"\x1b", "\x9b", "\u202e"} & set(ended.stdout)
    told = json.loads(run("token", "inspect", "--json", text=token).stdout)
    assert (told["verdict"], told["reason"], told["is_verified"]) == ("refused", reason, False)


def test_admitted_token_as_json(tmp_path: Any) -> None:
    """One document with what the token says; from a file, too."""
    token = signed()
    (tmp_path / "token").write_text(token)
    ended = run("token", "inspect", f"@{tmp_path / 'token'}", "--json")
    told = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert (told["verdict"], told["reason"], told["is_verified"]) == ("admitted", None, True)
    assert told["header"] == {"alg": "HS256", "typ": "JWT"}
    assert told["claims"] == jwt.decode(token, SECRET, ["HS256"])


def test_token_whose_keys_do_not_come_is_shown_all_the_same() -> None:
    """The verdict is that nobody can know, and why; what the token says is what its reader wanted to see."""
    with Provider() as provider:
        provider.how = "fail"
        settings = {"SECRET": "", "ISSUER": provider.issuer, "JWKS_HTTP": "1"}
        ended = run("token", "inspect", "--json", text=provider.token(), **settings)
        told = json.loads(ended.stdout)
        assert (ended.returncode, told["verdict"], told["reason"]) == (1, "unknown", "keys_unavailable")
        assert f"{provider.issuer}/.well-known/openid-configuration: the answer's status is 500" in told["detail"]
        assert (told["is_verified"], told["claims"]["sub"]) == (False, "alice")


def test_what_the_gate_reads_is_shown_beside_what_the_token_says() -> None:
    """An issuer may put session, token and scopes anywhere; of a token that was refused nothing is read."""
    entry = {"issuer": "https://pool", "secret": SECRET, "claims": {"sid": "origin_jti", "scopes": ["scope", ["ext", "roles"]]}}
    claims = {"iss": "https://pool", "origin_jti": "o-1", "scope": "a", "ext": {"roles": ["b c"]}}
    given = {"SECRET": "", "ISSUERS": json.dumps([entry])}
    told = json.loads(run("token", "inspect", "--json", text=signed(**claims), **given).stdout)
    assert {**told["read"], "token_id": None} == {"session_id": "o-1", "scopes": ["a", "b c"], "token_id": None}
    assert "read by the gate" in run("token", "inspect", text=signed(**claims), **given).stdout
    assert json.loads(run("token", "inspect", "--json", text=signed(iss="x"), **given).stdout)["read"] == {}


@pytest.mark.parametrize(
    "text",
    ["", "\n", "hidden", "hid.den", "hid.den.hidden", segments([1], {}, {}), segments({}, "hidden", {}), "[" * 90_000 + "..", "x" * 2_000_000],
)  # fmt: skip
def test_what_is_no_token_at_all_has_status_2_and_is_not_repeated(text: str) -> None:
    """It may have been a password, pasted by mistake."""
    ended = run("token", "inspect", text=text)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "hid" not in ended.stderr


class Pasted(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_is_said_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it would look as if nothing happened."""
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    monkeypatch.setattr("sys.stdin", Pasted(signed() + "\n"))
    assert main(["token", "inspect"]) == 0
    assert "paste the token" in capsys.readouterr().err


@pytest.mark.server
def test_inspecting_asks_the_store_and_waits_for_a_new_one() -> None:
    """A revoked token is refused; on a store that nobody has healed yet the verdict takes a moment (L2)."""
    with Server(valkey_binary()) as server:
        token = run("token", "mint", "alice", STORE=server.url).stdout
        first = run("token", "inspect", text=token, STORE=server.url)
        assert first.returncode == 0
        assert "waiting until it can be believed" in first.stderr
        assert run("revoke", "--token", "-", "--wait", text=token, STORE=server.url).returncode == 0
        second = run("token", "inspect", text=token, STORE=server.url)
        assert second.returncode == 1
        assert second.stderr == ""
        assert "Refused: revoked (" in second.stdout
        server.stop()
        third = run("token", "inspect", text=token, STORE=server.url)
        assert third.returncode == 1
        assert "No verdict, requests with it get 503: store_unavailable (" in third.stdout
        assert "alice" in third.stdout


@pytest.mark.server
def test_suspended_subject_gets_no_token() -> None:
    """Status 1: the operator's store said so."""
    with Server(valkey_binary()) as server:
        gate = Gate(Settings(secret=SECRET, store=server.url))
        gate.suspend("mallory")
        gate.close()
        ended = run("token", "mint", "mallory", STORE=server.url)
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert "suspended" in ended.stderr
