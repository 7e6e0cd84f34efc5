"""The table of requests that both shells must answer alike: what is sent, under which settings, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

from shells import COOKIE, Sent

from jwtgate import errors

OUTCOMES: dict[str, type[errors.JWTGateError]] = {
    "missing": errors.MissingToken,
    "invalid": errors.InvalidToken,
    "ambiguous": errors.InvalidRequest,
    "cross-site": errors.CrossSiteRequest,
}
"""Refusals. Else the outcome is ``anonymous``, or ``header`` or ``cookie``: admitted, from there, as the token ``good``."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        on_servers: False where servers refuse or change the request before any application sees it.
    """

    name: str
    settings: str
    sent: Sent
    outcome: str
    on_servers: bool = True

    def __str__(self) -> str:
        return f"{self.settings}: {self.name}".replace(" ", "_")


def _row(settings: str, outcome: str, name: str, *headers: tuple[str, str], **how: object) -> Row:
    on_servers = bool(how.pop("on_servers", True))
    return Row(name, settings, Sent(headers=headers, **how), outcome, on_servers)  # type: ignore[arg-type]


def _authorization(value: str) -> tuple[str, str]:
    return ("authorization", value)


def _cookie(value: str) -> tuple[str, str]:
    return ("cookie", value)


BEARER = _authorization("Bearer {good}")
OURS = _cookie(f"{COOKIE}={{good}}")
PROOF = ("x-csrf-token", "{proof}")
PREFLIGHT = ("access-control-request-method", "PUT")
OWN_ORIGIN = ("origin", "https://app.example")
EVIL_ORIGIN = ("origin", "https://evil.example")
UPGRADE = ("upgrade", "websocket")

HEADER = [
    _row("header", "missing", "no token"),
    _row("header", "header", "good", BEARER),
    _row("header", "header", "scheme in lower case", _authorization("bearer {good}")),
    _row("header", "header", "scheme in upper case and more spaces", _authorization("BEARER   {good}")),
    *(
        _row("header", "invalid", name, _authorization(f"Bearer {{{name}}}"))
        for name in ("expired", "early", "revoked", "forged", "unsigned", "refresh", "tampered", "padded", "named", "bad-sub")
    ),
    _row("header", "invalid", "no JWT", _authorization("Bearer abc")),
    _row("header", "invalid", "three empty segments", _authorization("Bearer ..")),
    _row("header", "invalid", "a byte too long", _authorization("Bearer {long}"), on_servers=False),
    _row("header", "invalid", "a megabyte too long", _authorization("Bearer {longer}"), on_servers=False),
    _row("header", "ambiguous", "scheme alone", _authorization("Bearer")),
    _row("header", "ambiguous", "scheme and a space", _authorization("Bearer ")),
    _row("header", "ambiguous", "empty", _authorization("")),
    _row("header", "ambiguous", "two tokens", _authorization("Bearer {good} {good}")),
    _row("header", "ambiguous", "two credentials", _authorization("Bearer {good}, Bearer {good}")),
    _row("header", "ambiguous", "two schemes", _authorization("Bearer {good}, Basic eDp5")),
    _row("header", "ambiguous", "Bearer second", _authorization("Basic eDp5, bearer {good}")),
    _row("header", "ambiguous", "repeated", BEARER, BEARER),
    _row("header", "ambiguous", "repeated, differing", BEARER, _authorization("Bearer {other}")),
    _row("header", "ambiguous", "repeated, Basic first", _authorization("Basic eDp5"), BEARER),
    _row("header", "ambiguous", "repeated, Basic last", BEARER, _authorization("Basic eDp5")),
    _row("header", "ambiguous", "repeated, empty first", _authorization(""), BEARER),
    _row("header", "ambiguous", "repeated, empty last", BEARER, _authorization("")),
    _row("header", "ambiguous", "quoted", _authorization('Bearer "{good}"')),
    _row("header", "ambiguous", "tab after the scheme", _authorization("Bearer\t{good}")),
    _row("header", "ambiguous", "space before the scheme", _authorization(" Bearer {good}"), on_servers=False),
    _row("header", "ambiguous", "space after the token", _authorization("Bearer {good} "), on_servers=False),
    _row("header", "ambiguous", "UTF-8 in the token", _authorization("Bearer \xc3\xa9")),
    _row("header", "ambiguous", "non-breaking space after the token", _authorization("Bearer {good}\xa0"), on_servers=False),
    _row("header", "ambiguous", "bytes that are no text", _authorization("\xff\xfe")),
    _row("header", "ambiguous", "NUL", _authorization("Bearer \0{good}"), on_servers=False),
    _row("header", "missing", "Basic", _authorization("Basic eDp5")),
    _row("header", "missing", "token without scheme", _authorization("{good}")),
    _row("header", "missing", "scheme of another name", _authorization("Bearerx {good}")),
    _row("header", "missing", "cookie only", OURS),
    _row("header", "header", "beside a repeated cookie", BEARER, _cookie(f"{COOKIE}=x; {COOKIE}=y")),
    _row("header", "missing", "in the query", target="/?access_token={good}"),
    _row("header", "missing", "in another header", ("proxy-authorization", "Bearer {good}")),
    _row("header", "missing", "identity from outside", ("remote-user", "root"), ("x-forwarded-user", "root")),
    _row("header", "header", "identity from outside beside a token", BEARER, ("remote-user", "root")),
    _row("header", "missing", "HEAD", method="HEAD"),
    _row("header", "header", "HEAD with a token", BEARER, method="HEAD"),
    _row("header", "ambiguous", "HEAD, repeated", BEARER, BEARER, method="HEAD"),
    _row("header", "header", "POST with a token from another site", BEARER, EVIL_ORIGIN, method="POST"),
    _row("header", "header", "PUT with a token", BEARER, method="PUT"),
    _row("header", "missing", "DELETE", method="DELETE"),
    _row("header", "missing", "POST with a body", method="POST", body=b"x" * 4096),
    _row("header", "missing", "method that nobody knows", method="QUERY"),
    _row("header", "header", "method that nobody knows with a token", BEARER, method="QUERY"),
    _row("header", "missing", "method in lower case", method="options", on_servers=False),
    _row("header", "missing", "OPTIONS", method="OPTIONS"),
    _row("header", "header", "OPTIONS with a token", BEARER, method="OPTIONS"),
    _row("header", "anonymous", "preflight", PREFLIGHT, OWN_ORIGIN, method="OPTIONS"),
    _row("header", "anonymous", "preflight with a token", PREFLIGHT, BEARER, method="OPTIONS"),
    _row(
        "header", "anonymous", "preflight with a forged token", PREFLIGHT, _authorization("Bearer {forged}"), method="OPTIONS"
    ),
    _row("header", "missing", "preflight by POST", PREFLIGHT, method="POST"),
    _row("header", "missing", "preflight that upgrades", PREFLIGHT, UPGRADE, method="OPTIONS"),
    _row("header", "header", "upgrade with a token", BEARER, UPGRADE, on_servers=False),
]

COOKIES = [
    _row("cookie", "missing", "no token"),
    _row("cookie", "cookie", "good", OURS),
    _row("cookie", "cookie", "HEAD", OURS, method="HEAD"),
    _row("cookie", "cookie", "after junk", _cookie(f"a=1;a; =;;; b=c=d; {COOKIE}={{good}}")),
    _row("cookie", "cookie", "before junk", _cookie(f'{COOKIE}={{good}}; a="x;y"; [=]; \xff=\xfe')),
    _row("cookie", "cookie", "white space around", _cookie(f"a=1;\t {COOKIE} = {{good}} ; b")),
    _row("cookie", "missing", "empty", _cookie(f"{COOKIE}=")),
    _row("cookie", "missing", "name without a value", _cookie(COOKIE)),
    _row("cookie", "missing", "name in another case", _cookie(f"{COOKIE.lower()}={{good}}")),
    _row("cookie", "missing", "name after U+2000", _cookie(f"\xe2\x80\x80{COOKIE}={{good}}")),
    _row("cookie", "missing", "name after U+00A0", _cookie(f"a; \xa0{COOKIE}={{good}}")),
    _row("cookie", "missing", "in another cookie's value", _cookie(f"a={COOKIE}={{good}}")),
    _row("cookie", "missing", "name with a tail", _cookie(f"{COOKIE}2={{good}}")),
    _row("cookie", "ambiguous", "quoted", _cookie(f'{COOKIE}="{{good}}"')),
    _row("cookie", "ambiguous", "joined with a comma", _cookie(f"{COOKIE}={{good}}, {COOKIE}={{other}}")),
    _row("cookie", "ambiguous", "repeated", _cookie(f"{COOKIE}={{good}}; {COOKIE}={{good}}")),
    _row("cookie", "ambiguous", "repeated, empty", _cookie(f"{COOKIE}={{good}}; {COOKIE}=")),
    _row("cookie", "ambiguous", "space in the token", _cookie(f"{COOKIE}={{good}} x")),
    _row("cookie", "invalid", "expired", _cookie(f"{COOKIE}={{expired}}")),
    _row("cookie", "invalid", "revoked", _cookie(f"{COOKIE}={{revoked}}")),
    _row("cookie", "invalid", "a byte too long", _cookie(f"{COOKIE}={{long}}"), on_servers=False),
    _row("cookie", "missing", "header only", BEARER),
    _row("cookie", "cookie", "beside a broken header", OURS, _authorization("")),
    _row("cookie", "cross-site", "POST that nothing vouches for", OURS, method="POST"),
    _row("cookie", "cross-site", "PUT from a sibling site", OURS, ("sec-fetch-site", "same-site"), method="PUT"),
    _row("cookie", "cross-site", "POST from another site", OURS, ("sec-fetch-site", "cross-site"), OWN_ORIGIN, method="POST"),
    _row("cookie", "cookie", "POST from our site", OURS, ("sec-fetch-site", "same-origin"), method="POST"),
    _row("cookie", "cookie", "POST by the user", OURS, ("sec-fetch-site", "none"), method="POST"),
    _row("cookie", "cookie", "DELETE from our origin", OURS, OWN_ORIGIN, method="DELETE"),
    _row("cookie", "cookie", "POST from an allowed origin", OURS, ("origin", "https://partner.example"), method="POST"),
    _row("cookie", "cross-site", "POST from another origin", OURS, EVIL_ORIGIN, method="POST"),
    _row("cookie", "cross-site", "POST from an opaque origin", OURS, ("origin", "null"), method="POST"),
    _row("cookie", "cross-site", "two origins", OURS, OWN_ORIGIN, EVIL_ORIGIN, method="POST"),
    _row("cookie", "cross-site", "the same origin twice", OURS, OWN_ORIGIN, OWN_ORIGIN, method="POST"),
    _row("cookie", "cross-site", "two sites", OURS, *[("sec-fetch-site", "same-origin")] * 2, method="POST"),
    _row(
        "cookie", "cross-site", "two hosts", OURS, OWN_ORIGIN, ("host", "app.example"), ("host", "app.example"),
        method="POST", on_servers=False,
    ),
    _row("cookie", "cross-site", "host that a proxy tells", OURS, EVIL_ORIGIN, ("x-forwarded-host", "evil.example"), method="POST"),
    _row("cookie", "cross-site", "method that nobody knows", OURS, method="QUERY"),
    _row("cookie", "cross-site", "TRACE", OURS, method="TRACE"),
    _row("cookie", "cross-site", "safe method in lower case", OURS, method="get", on_servers=False),
    _row("cookie", "cookie", "OPTIONS", OURS, method="OPTIONS"),
    _row("cookie", "cross-site", "handshake without origin", OURS, UPGRADE, on_servers=False),
    _row("cookie", "cross-site", "handshake from our site", OURS, UPGRADE, ("sec-fetch-site", "same-origin"), on_servers=False),
    _row("cookie", "cross-site", "handshake from another origin", OURS, UPGRADE, EVIL_ORIGIN, on_servers=False),
    _row("cookie", "cross-site", "handshake in a list", OURS, ("upgrade", "h2c, WebSocket"), on_servers=False),
    _row("cookie", "cookie", "handshake from our origin", OURS, UPGRADE, OWN_ORIGIN, on_servers=False),
]  # fmt: skip

BOTH = [
    _row("both", "header", "the same token twice", BEARER, OURS),
    _row("both", "header", "the same token twice by POST", BEARER, OURS, method="POST"),
    _row("both", "ambiguous", "two good tokens", BEARER, _cookie(f"{COOKIE}={{other}}")),
    _row("both", "ambiguous", "good and expired", BEARER, _cookie(f"{COOKIE}={{expired}}")),
    _row("both", "ambiguous", "broken header beside a cookie", OURS, _authorization("Bearer")),
    _row("both", "ambiguous", "header beside a repeated cookie", BEARER, _cookie(f"{COOKIE}=x; {COOKIE}=y")),
    _row("both", "header", "header beside an empty cookie", BEARER, _cookie(f"{COOKIE}=")),
    _row(
        "both", "invalid", "the same revoked token twice", _authorization("Bearer {revoked}"), _cookie(f"{COOKIE}={{revoked}}")
    ),
    _row("both", "cookie", "another scheme beside a cookie", _authorization("Basic eDp5"), OURS),
    _row("both", "cross-site", "another scheme beside a cookie by POST", _authorization("Basic eDp5"), OURS, method="POST"),
    _row("both", "cross-site", "a name alone beside a cookie by POST", _authorization("x"), OURS, method="POST"),
    _row("both", "cookie", "cookie alone", OURS),
    _row("both", "header", "header alone", BEARER),
]

DOUBLE_SUBMIT = [
    _row("double-submit", "missing", "no token"),
    _row("double-submit", "missing", "value alone", PROOF, method="POST"),
    _row("double-submit", "cookie", "GET", OURS),
    _row("double-submit", "cookie", "HEAD", OURS, method="HEAD"),
    _row("double-submit", "cookie", "OPTIONS", OURS, method="OPTIONS"),
    _row("double-submit", "cookie", "POST with the value", OURS, PROOF, method="POST"),
    _row("double-submit", "cookie", "DELETE with the value", OURS, PROOF, method="DELETE"),
    _row("double-submit", "cookie", "value from an origin that may read it", OURS, PROOF, EVIL_ORIGIN, method="POST"),
    *(
        _row("double-submit", "cross-site", name, OURS, *headers, method="POST")
        for name, headers in {
            "POST without": (),
            "POST from our site without": (("sec-fetch-site", "same-origin"), OWN_ORIGIN),
            "POST from an allowed origin without": (("origin", "https://partner.example"),),
            "empty": (("x-csrf-token", ""),),
            "another value": (("x-csrf-token", "another-text-of-the-session"),),
            "a part of it": (("x-csrf-token", "random-text"),),
            "more than it": (("x-csrf-token", "{proof}x"),),
            "in upper case": (("x-csrf-token", "RANDOM-TEXT-OF-THE-SESSION"),),
            "quoted": (("x-csrf-token", '"{proof}"'),),
            "joined with a comma": (("x-csrf-token", "{proof}, {proof}"),),
            "twice": (PROOF, PROOF),
            "and an empty one": (PROOF, ("x-csrf-token", "")),
            "and another": (("x-csrf-token", "x"), PROOF),
            "bytes that are no text": (("x-csrf-token", "\xff\xfe"),),
            "in another header": (("x-csrftoken", "{proof}"), ("x-xsrf-token", "{proof}")),
            "another scheme beside it": (_authorization("Basic eDp5"),),
            "a name alone beside it": (_authorization("x"),),
        }.items()
    ),
    _row(
        "double-submit", "cross-site", "in the cookie only", _cookie(f"{COOKIE}={{good}}; __Host-csrf_access_token={{proof}}"),
        method="POST",
    ),
    _row("double-submit", "cross-site", "in the query", OURS, target="/?csrf_access_token={proof}", method="POST"),
    _row("double-submit", "cross-site", "token without the claim", _cookie(f"{COOKIE}={{other}}"), PROOF, method="POST"),
    _row("double-submit", "cross-site", "claim that is a list", _cookie(f"{COOKIE}={{unproved}}"), PROOF, method="POST"),
    _row("double-submit", "cookie", "another scheme and the value", _authorization("Basic eDp5"), OURS, PROOF, method="POST"),
    _row("double-submit", "cross-site", "method that nobody knows", OURS, method="QUERY"),
    _row("double-submit", "cross-site", "TRACE", OURS, method="TRACE"),
    _row("double-submit", "header", "header by POST", BEARER, method="POST"),
    _row("double-submit", "header", "the same token twice by POST", BEARER, OURS, method="POST"),
    _row("double-submit", "ambiguous", "two tokens and the value", BEARER, _cookie(f"{COOKIE}={{other}}"), PROOF, method="POST"),
    *(
        _row("double-submit", outcome, f"{name} by POST {how}", _cookie(f"{COOKIE}={{{name}}}"), *headers, method="POST")
        for name in ("revoked", "expired", "forged", "unsigned", "bad-sub")
        for outcome, how, headers in (("cross-site", "without", ()), ("invalid", "with the value", (PROOF,)))
    ),
    _row("double-submit", "anonymous", "preflight", PREFLIGHT, EVIL_ORIGIN, method="OPTIONS"),
    _row("double-submit", "cookie", "handshake from our origin", OURS, UPGRADE, OWN_ORIGIN, on_servers=False),
    _row("double-submit", "cross-site", "handshake without origin", OURS, UPGRADE, PROOF, on_servers=False),
    _row("double-submit", "cross-site", "handshake from another", OURS, UPGRADE, EVIL_ORIGIN, PROOF, on_servers=False),
]  # fmt: skip

OPTIONAL = [
    _row("optional", "anonymous", "no token"),
    _row("optional", "anonymous", "HEAD", method="HEAD"),
    _row("optional", "anonymous", "POST", method="POST"),
    _row("optional", "anonymous", "another scheme", _authorization("Basic eDp5")),
    _row("optional", "anonymous", "identity from outside", ("remote-user", "root")),
    _row("optional", "header", "good", BEARER),
    _row("optional", "cookie", "good cookie", OURS),
    _row("optional", "invalid", "expired", _authorization("Bearer {expired}")),
    _row("optional", "invalid", "revoked cookie", _cookie(f"{COOKIE}={{revoked}}")),
    _row("optional", "ambiguous", "repeated", BEARER, BEARER),
    _row("optional", "ambiguous", "scheme alone", _authorization("Bearer")),
    _row("optional", "cross-site", "cookie by POST", OURS, method="POST"),
]

EXEMPT = [
    *(
        _row("exempt", "anonymous", path, target=path)
        for path in ("/health", "/health?x=/../", "/%68ealth", "/public/", "/public/a/b.css", "/public/%C3%A9", "/public/.x")
    ),
    _row("exempt", "anonymous", "/health by POST", target="/health", method="POST"),
    _row("exempt", "anonymous", "/health with a good token", BEARER, target="/health"),
    _row("exempt", "anonymous", "/health with a forged token", _authorization("Bearer {forged}"), target="/health"),
    _row("exempt", "anonymous", "/health with two tokens", BEARER, BEARER, target="/health"),
    *(
        _row("exempt", "missing", path, target=path)
        for path in (
            "/",
            "/health/",
            "/healthz",
            "/Health",
            "/health.",
            "/health%20",
            "/health;x",
            "/health%3Fx",
            "/health%00",
            "/health%2F",
            "/public",
            "/publicity",
            "/public/../admin",
            "/public/..%2Fadmin",
            "/public/%2e%2e/admin",
            "/public/..;/admin",
            "/public/a%5C..%5Cadmin",
            "/public/a%2Fb",
            "/public//a",
            "/public/./a",
            "/public/%252e",
            "/public/%FF",
            "/public/%EF%BF%BD",
            "/public/a%0D%0Ab",
            "/public/%E2%80%AEa",
        )
    ),  # fmt: skip
    _row("exempt", "missing", "//health", target="//health", on_servers=False),
    _row("exempt", "missing", "/x/../health", target="/x/../health"),
    _row("exempt", "missing", "/public\\..\\admin", target="/public\\..\\admin", on_servers=False),
    _row("exempt", "missing", "host that looks exempt", ("host", "health"), target="/admin"),
    _row("exempt", "header", "another path with a token", BEARER, target="/admin"),
]

ROWS = [*HEADER, *COOKIES, *BOTH, *DOUBLE_SUBMIT, *OPTIONAL, *EXEMPT]
