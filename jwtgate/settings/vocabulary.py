"""The kinds that more than one setting shares, or whose rule comes from a standard or is a list of reserved words."""

from __future__ import annotations

import re
from ipaddress import ip_network

from jwtgate.core.handles import BUILT_IN_KINDS
from jwtgate.core.http.live_paths import LivePaths
from jwtgate.core.keys.material import ALGORITHMS as KNOWN_ALGORITHMS
from jwtgate.core.keys.material import HMAC_BYTES
from jwtgate.core.possession.target_uri import normal_uri
from jwtgate.settings.allowed import Choice, Number, Text, Texts, Unfit
from jwtgate.settings.urls import (
    JOURNALS_ALLOWED,
    STORES_ALLOWED,
    normal_journal,
    normal_key_url,
    normal_origin,
    normal_prefix,
    normal_resource,
    normal_store,
)

__all__ = [
    "ALGORITHMS",
    "ANY_TEXT",
    "AUDIENCE",
    "CLIENTS",
    "CLIENT_CERT",
    "CLIENT_ID",
    "COOKIE_NAME",
    "DPOP_ALGORITHMS",
    "DURABILITY",
    "ENDPOINTS",
    "EVENTS_AUTHORIZATION",
    "EXEMPT",
    "HANDLES",
    "ISSUER",
    "JOURNAL",
    "JWKS_FILE",
    "LEEWAY",
    "LIVE",
    "LOCATIONS",
    "MAX_TTL",
    "NONCE_SECRET",
    "ORIGINS",
    "OUR_NAMES",
    "PEM",
    "PREFIX",
    "PUBLIC_URL",
    "REALM",
    "REQUIRE",
    "RESOURCE",
    "RESOURCE_SCOPES",
    "SECRET",
    "STATUS_FROM",
    "STATUS_LISTS",
    "STORE",
    "TEN_YEARS_SECONDS",
    "TRUSTED_PROXIES",
    "TYP",
    "VERSION_CLAIM",
]

TEN_YEARS_SECONDS = 315_360_000
"""The longest lifetime of anything: ten times 365 days. Longer is a slip of units, milliseconds for seconds."""

RESERVED_HANDLES = frozenset((*BUILT_IN_KINDS, "iss", "aud", "exp", "nbf", "iat"))
"""Built-in kinds of handle, and registered claims (RFC 7519 §4.1) that name no group of tokens worth a ruling."""

ANY_TEXT = re.compile(r"(?s).+")


def _normal_handle(name: str) -> str:
    if name in RESERVED_HANDLES:
        raise Unfit(f"is {name!r}, which is built in or reserved")
    return name


def _normal_pattern(path: str) -> str:
    """A pattern is compared with the decoded path, so what no honest decoded path holds could only ever mislead."""
    stem = path.removesuffix("/*") if path.endswith("/*") else path
    segments = stem.split("/")
    is_plain = not re.search(r"[*%?\\]|\s/", stem) and "//" not in path and not {".", ".."}.intersection(segments)
    if not (path.startswith("/") and is_plain):
        raise Unfit(f"is {path!r}")
    return path


def _normal_rule(rule: str) -> str:
    pattern, separator, _ = rule.rpartition("=")
    if separator:
        _normal_pattern(pattern)
    try:
        LivePaths((rule,))
    except ValueError:
        raise Unfit(f"is {rule!r}") from None
    return rule


def _normal_public_url(url: str) -> str:
    normal = None if re.search(r"[?#*]", url) else normal_uri(url)
    if normal is None:
        raise Unfit("is no http or https URL")
    return normal.rstrip("/")


def _normal_certificate_header(name: str) -> str:
    """Not one that says something else already."""
    if name.lower() in ("authorization", "cookie", "dpop", "host", "origin", "content-type", "content-length"):
        raise Unfit(f"is {name!r}")
    return name.lower()


def _normal_network(network: str) -> str:
    try:
        return str(ip_network(network))
    except ValueError:
        raise Unfit("is no address or network") from None


def _normal_list_address(address: str) -> str:
    return address if address == "issuer" else normal_prefix(address)


SECRET = Text("text at least as long as the hash (HS256: 32 bytes, HS384: 48, HS512: 64)", pattern=ANY_TEXT, is_shown=False)
PEM = Text("PEM text (-----BEGIN …) or the path of a PEM file", pattern=ANY_TEXT, is_shown=False, is_path=True)
PRIVATE_KEYS = Text("the path of a JWK Set file with private keys, or of a folder of such files", is_shown=False, is_path=True)
JWKS_FILE = Text("the path of a JWK Set file (RFC 7517 §5)", is_shown=False, is_path=True)

STATUS_FROM = Texts(
    Text(
        "issuer (the origin of the issuer's own URL) and https URLs under which its lists stand (http only under "
        "JWTGATE_JWKS_HTTP=1)",
        is_shown=False,
        normal=_normal_list_address,
    ),
    most=16,
)
STATUS_LISTS = Text(
    "the public https URL of {ENDPOINTS}/status, without a slash at its end (http only under JWTGATE_JWKS_HTTP=1)",
    is_shown=False,
    normal=normal_prefix,
)

JWKS_URL = Text("an https URL (http only under JWTGATE_JWKS_HTTP=1)", is_shown=False, normal=normal_key_url)

ALGORITHMS = Texts(Choice(tuple(KNOWN_ALGORITHMS)))
ISSUER = Text("text of at most 1024 characters, as in the claim iss", re.compile(r"[^\x00-\x1f\x7f]{1,1024}"))
AUDIENCE = Texts(Text("audiences, as in the claim aud; or * alone, which accepts all"), most=100, alone="*")
OUR_NAMES = Texts(
    Text("what a provider calls us, as in aud: our client ids; no * that takes all", re.compile(r"[^\x00-\x1f\x7f*]+")),
    most=100,
)
EVENTS_AUTHORIZATION = Text(
    "an Authorization value of 16 to 4096 printable ASCII characters, such as Bearer and a random text",
    re.compile(r"[!-~][ -~]{14,4094}[!-~]"),
    is_shown=False,
)
TYP = Text(
    "a media type such as at+jwt, and not that of logout or security event tokens",
    re.compile(r"(?!(?i:(?:application/)?(?:logout|secevent)\+jwt)\Z)[A-Za-z0-9][A-Za-z0-9!#$&^_.+/-]{0,126}"),
)
LEEWAY = Number(0, 3600)
MAX_TTL = Number(1, TEN_YEARS_SECONDS)

CLAIM_NAME = re.compile(r"[^\s\x00-\x1f\x7f\"\\,]{1,128}")
REQUIRE = Texts(Text("claim names, at most 32", CLAIM_NAME), most=32)
VERSION_CLAIM = Text("a claim name", CLAIM_NAME)
HANDLES = Texts(
    Text(f"at most 8 claim names, none of {', '.join(sorted(RESERVED_HANDLES))}", CLAIM_NAME, normal=_normal_handle),
    most=8,
)

COOKIE_NAME = Text(
    "a token (RFC 6265 §4.1.1) of at most 128 characters: letters, digits and !#$%&'*+-.^_`|~",
    re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"),
)
LOCATIONS = Texts(Choice(("header", "cookie", "subprotocol")))
ORIGINS = Texts(Text("origins, scheme://host or scheme://host:port, without a path and without *", normal=normal_origin))
EXEMPT = Texts(
    Text(
        "paths that start with /, * only in a final /*, without //, blank before /, dot segments, %, ?, backslash or controls",
        normal=_normal_pattern,
    )
)
LIVE = Texts(
    Text(
        "close or ignore, for all that no path names, and /path=ignore, /path/*=close, paths as in EXEMPT", normal=_normal_rule
    )
)
ENDPOINTS = Text(
    "a path such as /auth: segments of letters, digits and - . _ ~, without a slash at its end",
    re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}"),
)
RESOURCE = Text(
    "an https URL without query and fragment, its path of plain segments (http for localhost alone)", normal=normal_resource
)
RESOURCE_SCOPES = Texts(Text("scope tokens (RFC 6749 §3.3)", re.compile(r"[!#-\[\]-~]{1,256}")), most=256)
CLIENT_ID = Text("1 to 128 printable ASCII characters without colon (RFC 7617 §2)", re.compile(r"[!-9;-~]{1,128}"))
CLIENTS = Texts(
    Text(
        'client_id:digest, the digest being SHA-256 of a random secret, 64 hex digits: printf %s "$SECRET" | sha256sum',
        re.compile(r"[!-9;-~]{1,128}:[0-9a-fA-F]{64}"),
        is_shown=False,
    )
)
STORE = Text(STORES_ALLOWED, is_shown=False, normal=normal_store)
JOURNAL = Text(JOURNALS_ALLOWED, is_shown=False, normal=normal_journal)
DURABILITY = Text("0, fsync, or replicas:N with N from 1 to 99", re.compile(r"0|fsync|replicas:[1-9][0-9]?"))
PREFIX = Text(
    "1 to 64 letters, digits and _ . : - (it stands in a Redis hash tag, so no braces)",
    re.compile(r"[A-Za-z0-9_.:-]{1,64}"),
)
REALM = Text(
    "1 to 128 printable ASCII characters without quote and backslash (RFC 9110 §5.6.4)",
    re.compile(r"[ !#-\[\]-~]{1,128}"),
)

DPOP_ALGORITHMS = Texts(Choice(tuple(name for name in KNOWN_ALGORITHMS if name not in HMAC_BYTES)))
NONCE_SECRET = Text("text of at least 32 characters", re.compile(r"(?s).{32,}"), is_shown=False)
PUBLIC_URL = Text("an http or https URL without a query, such as https://api.example.com", normal=_normal_public_url)
CLIENT_CERT = Text(
    "tls, or the name of a header that is not used for anything else",
    re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"),
    normal=_normal_certificate_header,
)
TRUSTED_PROXIES = Texts(
    Text("addresses and networks such as 10.0.0.7 and 10.1.0.0/16, without host bits", normal=_normal_network)
)
