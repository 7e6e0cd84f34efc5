"""What the application receives of a token, and what a check is shown of one that nobody has verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymaking import craft

from jwtgate.core.tokens import shown as tokens
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.shown import to_token, to_unverified_token

if TYPE_CHECKING:
    from jwtgate.core.tokens.parsing import ParsedToken

ISSUER = "https://issuer.example"
HEADER = {"alg": "HS256", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": "alice", "exp": 1_000_900, "iat": 1_000_000, "jti": "j", "sid": "s"}


def parsed_with(**claims: Any) -> ParsedToken:
    return parse(craft(HEADER, {**CLAIMS, **claims}), 8192)


def test_token_holds_what_was_verified() -> None:
    """Interface §1: the registered claims by name, the rest in claims; what is absent is None."""
    parsed = parsed_with(scope="read  write ")
    token = to_token(parsed, "header")
    assert (token.claims, token.header, token.source) == (parsed.claims, parsed.header, "header")
    assert (token.issuer, token.subject, token.token_id, token.session_id) == (ISSUER, "alice", "j", "s")
    assert token.expires_at == 1_000_900
    assert token.scopes == {"read", "write"}
    bare = to_token(parse(craft(HEADER, {}), 8192), None)
    assert (bare.issuer, bare.subject, bare.token_id, bare.session_id, bare.expires_at, bare.source) == (None,) * 6
    assert bare.scopes == frozenset()


def test_scopes_come_from_scope_or_scp() -> None:
    """RFC 6749 §3.3: separated by spaces and by nothing else; some issuers send scp, or a list."""
    for claims, scopes in (
        ({"scope": "a b"}, {"a", "b"}),
        ({"scope": ["a", "b c"]}, {"a", "b c"}),
        ({"scp": "a b"}, {"a", "b"}),
        ({"scp": ["a", ""]}, {"a"}),
        ({"scope": "a", "scp": "b"}, {"a"}),
        ({"scope": ""}, set()),
        ({"scope": "a\u00a0b\tc"}, {"a\u00a0b\tc"}),
    ):
        assert to_token(parsed_with(**claims), "cookie").scopes == scopes


def test_unverified_token_says_the_same() -> None:
    """A check before and one after are asked about equal tokens."""
    for claims in ({"scope": "a b"}, {"scp": ["a", ""], "n": [1, {"deep": "er"}]}, {"sub": "bob"}):
        parsed = parsed_with(**claims)
        assert to_unverified_token(parsed, "cookie") == to_token(parsed, "cookie")


def test_nothing_of_an_unverified_token_is_kept() -> None:
    """Threat 9: neither names nor scopes enter what verified tokens share."""
    to_token(parsed_with(scope="a b"), "header")
    shared, scopes = dict(tokens._SHARED), tokens._shared_scopes.cache_info()
    for number in range(100):
        to_unverified_token(parsed_with(scope=f"forged-{number}", **{f"forged-{number}": 1}), "header")
    assert (tokens._SHARED, tokens._shared_scopes.cache_info()) == (shared, scopes)
