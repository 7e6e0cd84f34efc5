"""What about the settings would break the promise or the safety, or deserves advice; each with the line that mends it.

Settings that cannot be used at all are refused by ``Settings``; those here work, and mean more than they seem to. Pure:
no I/O, no environment of its own. What is wrong with a store, the store says (``Store.audit``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from jwtgate.core.tokens.policy import ANY_AUDIENCE
from jwtgate.stores.contract import Weakness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jwtgate.settings import Settings

__all__ = ["audit_settings", "weaknesses_of_mistakes"]

LONG_LEASE_SECONDS = 5.0
LONG_GRACE_SECONDS, LONGEST_GRACE_SECONDS = 60.0, 300.0
"""Beyond the second an outage undoes a logout for longer than short tokens live anyway."""

LONG_LEEWAY_SECONDS = 60.0
LONG_TTL_SECONDS = 30 * 86400.0

FEW_LETTERS = 8
"""Random text of 32 hexadecimal digits has about 14 distinct ones, and fewer than 8 never."""

PLACEHOLDERS = re.compile(
    r"(?i)secret|passw(or)?d|change[-_ ]?(me|this|it)|example|your[-_ ](\d|own|super|very|jwt|key|app|long|strong|random)"
    r"|placeholder|insecure|default|qwerty|letmein|12345678|abcdefg"
)
"""Words of documentation and templates, of six letters and more: those of five stand in one random text of a million, and
``abcdef`` in one of 200,000 that are hexadecimal."""

NEW_RANDOM = "<what this prints: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'>"

_RELATIVE = re.compile(r"sqlite:///(?!/|[A-Za-z]:)")
"""What follows three slashes, unless it is a drive of Windows."""

_SEPARATOR = "; allowed: "


def audit_settings(settings: Settings, environ: Mapping[str, str]) -> tuple[Weakness, ...]:
    """Every finding, in the order of the table of settings.

    Args:
        settings: sound ones.
        environ: names to text, where what else stands there matters; else empty.
    """
    return (
        *_secrets(settings, environ),
        *_issuers(settings),
        *_lists(settings),
        *_times(settings),
        *_memory(settings, environ),
        *_cookies(settings),
        *_outage(settings),
        *_bonds(settings),
        *(
            Weakness(f"{warning.removesuffix('.')}.", "Mend or remove those keys", "hint", about="JWTGATE_JWKS_FILE")
            for warning in settings.warnings
        ),
    )


def weaknesses_of_mistakes(mistakes: tuple[str, ...]) -> tuple[Weakness, ...]:
    """Those of a ``SettingsError``, each with what is allowed as its remedy."""
    return tuple(_of_mistake(mistake) for mistake in mistakes)


def _of_mistake(mistake: str) -> Weakness:
    problem, _, allowed = mistake.removesuffix(".").partition(_SEPARATOR)
    found = re.match(r"JWTGATE_\w+(\[\d+\])?(\.\w+)?", problem)
    about = found[0] if found else "JWTGATE_SECRET" if "key" in problem else "JWTGATE_STORE"
    lacking, _, line = problem.partition(": pip install ")
    if line:
        return Weakness(f"{lacking}.", f"pip install {line}", about=about)
    return Weakness(f"{problem}.", _remedy(about, problem, allowed), about=about)


def _remedy(about: str, problem: str, allowed: str) -> str:
    if "is not a setting" in problem:
        return f"unset {about}  # {allowed}"
    if allowed.startswith("leaving it unset"):
        return f"unset {about}{allowed.removeprefix('leaving it unset').replace(',', '  #', 1)}"
    if about == "JWTGATE_SECRET" or about.endswith(".secret"):
        return f"{about}={NEW_RANDOM}"
    return f"{about}=<{allowed or 'see jwtgate env'}>"


def _secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Weakness]:
    secrets = _named_secrets(settings)
    for name, secret in secrets.items():
        if _is_guessable(secret):
            yield Weakness(
                f"{name} can be guessed, having a word of a template or few distinct letters: whoever does makes any token.",
                f"{name}={NEW_RANDOM}",
                about=name,
            )
    names = list(secrets)
    for place, name in enumerate(names):
        twin = next((other for other in names[:place] if secrets[other] == secrets[name]), None)
        if twin is not None:
            yield Weakness(
                f"{name} is the same as {twin}: either issuer can make the other's tokens.",
                f"{name}={NEW_RANDOM}",
                about=name,
            )
    if len(settings.policies) > 1 and secrets:
        yield Weakness(
            f"Of {len(settings.policies)} issuers {len(secrets)} sign by HMAC: this service could make their tokens itself.",
            "JWTGATE_ISSUERS=<entries with public_key or jwks_file in place of secret>",
            "hint",
            about="JWTGATE_ISSUERS",
        )
    if "JWTGATE_SECRET" in environ:
        yield Weakness(
            "JWTGATE_SECRET stands in the environment, which child processes and crash reports get to see.",
            "JWTGATE_SECRET_FILE=<path of a file that holds it>",
            "hint",
            about="JWTGATE_SECRET",
        )


def _named_secrets(settings: Settings) -> dict[str, str]:
    """By the name under which it is set."""
    if settings.secret is not None:
        return {"JWTGATE_SECRET": settings.secret}
    entries: list[dict[str, Any]] = json.loads(str(settings.issuers)) if settings.issuers is not None else []
    return {f"JWTGATE_ISSUERS[{i}].secret": entry["secret"] for i, entry in enumerate(entries) if "secret" in entry}


def _is_guessable(secret: str) -> bool:
    return len(set(secret)) < FEW_LETTERS or _is_repeated(secret) or PLACEHOLDERS.search(secret) is not None


def _is_repeated(secret: str) -> bool:
    """A text is some shorter one, over and over, where it is found in its own double other than at the ends."""
    return (secret + secret).find(secret, 1) < len(secret)


def _issuers(settings: Settings) -> Iterator[Weakness]:
    for place, policy in enumerate(settings.policies.values()):
        name = "JWTGATE_AUDIENCE" if settings.issuers is None else f"JWTGATE_ISSUERS[{place}].audience"
        if policy.admits_nothing:
            continue
        if policy.audience is None:
            yield Weakness(
                f"{name} is not set: tokens that name an audience are refused, and those that name none pass, "
                "for whatever service they were made (RFC 8725 §3.9).",
                f"{name}=<the name of this service, as in the claim aud>",
                about=name,
            )
        elif policy.audience == ANY_AUDIENCE:
            yield Weakness(
                f"{name} is *: a token that its issuer made for another service is admitted here.",
                f"{name}=<the name of this service, as in the claim aud>",
                "hint",
                about=name,
            )
        if policy.keys.signer is not None and "client_id" in policy.require and settings.client_id is None:
            yield Weakness(
                "JWTGATE_CLIENT_ID is not set, and tokens must have client_id: those of sessions that are started here would "
                "be refused, so no session can be.",
                "JWTGATE_CLIENT_ID=<the client_id of the tokens of sessions>",
                "hint",
                about="JWTGATE_CLIENT_ID",
            )
        if policy.issuer is None and policy.keys.signer is None:
            yield Weakness(
                "JWTGATE_ISSUER is not set: whoever else signs with the same keys is believed, whatever iss says.",
                "JWTGATE_ISSUER=<the claim iss of its tokens>",
                "hint",
                about="JWTGATE_ISSUER",
            )


def _lists(settings: Settings) -> Iterator[Weakness]:
    signers = [policy.keys.signer for policy in settings.policies.values() if policy.keys.signer is not None]
    if settings.status_lists is not None and signers and signers[0].public_jwk is None:
        yield Weakness(
            "JWTGATE_STATUS_LISTS are signed with a secret: only who could make our tokens, too, can believe them.",
            "JWTGATE_PRIVATE_KEYS=<what jwtgate keys new makes>",
            "hint",
            about="JWTGATE_STATUS_LISTS",
        )


def _times(settings: Settings) -> Iterator[Weakness]:
    leeway = max((policy.leeway_seconds for policy in settings.policies.values()), default=0.0)
    if leeway > LONG_LEEWAY_SECONDS:
        yield Weakness(
            f"JWTGATE_LEEWAY is {leeway:g} s: so long tokens live after they have expired, and so long after a logout "
            "new tokens without our stamp are refused.",
            f"JWTGATE_LEEWAY={LONG_LEEWAY_SECONDS:g}",
            "hint",
            about="JWTGATE_LEEWAY",
        )
    longest = max((policy.max_ttl_seconds for policy in settings.policies.values()), default=0.0)
    if longest > LONG_TTL_SECONDS:
        yield Weakness(
            f"JWTGATE_MAX_TTL is {longest / 86400:.0f} days: so long rulings without a known end fill the view and the store.",
            f"JWTGATE_MAX_TTL={LONG_TTL_SECONDS:.0f}",
            "hint",
            about="JWTGATE_MAX_TTL",
        )
    if settings.lease > LONG_LEASE_SECONDS:
        yield Weakness(
            f"JWTGATE_LEASE is {settings.lease:g} s: so long a revocation without wait may go unheard.",
            "JWTGATE_LEASE=1",
            "hint",
            about="JWTGATE_LEASE",
        )


def _memory(settings: Settings, environ: Mapping[str, str]) -> Iterator[Weakness]:
    """That the store is one process's memory, it says itself."""
    workers = environ.get("WEB_CONCURRENCY", "")
    if settings.store == "memory://" and workers.isdecimal() and int(workers) > 1:
        yield Weakness(
            f"WEB_CONCURRENCY is {int(workers)}, and each worker has a memory of its own: a logout reaches one of them.",
            "WEB_CONCURRENCY=1",
            about="WEB_CONCURRENCY",
        )
    for name, url in (("JWTGATE_STORE", settings.store), ("JWTGATE_JOURNAL", settings.journal or "")):
        if _RELATIVE.match(url):
            yield Weakness(
                f"{name} is a relative path: a command or process that is started in another folder has another database, "
                "and its revocations reach nobody.",
                f"{name}=sqlite:////<the whole path, after four slashes>",
                "hint",
                about=name,
            )


def _cookies(settings: Settings) -> Iterator[Weakness]:
    if not settings.cookie_secure:
        yield Weakness(
            "JWTGATE_COOKIE_SECURE is 0: browsers send the tokens over plain http, where anybody on the way reads them.",
            "JWTGATE_COOKIE_SECURE=1",
            about="JWTGATE_COOKIE_SECURE",
        )
    if settings.csrf == "off" and "cookie" in settings.locations:
        yield Weakness(
            "JWTGATE_CSRF is off while tokens are taken from cookies: any web site can act for a user who is logged in.",
            "JWTGATE_CSRF=fetch-metadata",
            about="JWTGATE_CSRF",
        )


def _outage(settings: Settings) -> Iterator[Weakness]:
    if settings.on_store_down == "admit":
        yield Weakness(
            "JWTGATE_ON_STORE_DOWN is admit: a revoked token lives on wherever the store cannot be asked, without any bound.",
            "JWTGATE_ON_STORE_DOWN=refuse",
            about="JWTGATE_ON_STORE_DOWN",
        )
    elif settings.on_store_down == "cached" and settings.grace > LONG_GRACE_SECONDS:
        severity: Literal["problem", "hint"] = "problem" if settings.grace > LONGEST_GRACE_SECONDS else "hint"
        yield Weakness(
            f"JWTGATE_GRACE is {settings.grace:g} s: so long after its lease a process that is cut off admits a revoked token.",
            "JWTGATE_GRACE=30",
            severity,
            about="JWTGATE_GRACE",
        )


def _bonds(settings: Settings) -> Iterator[Weakness]:
    if settings.dpop != "off" and settings.resource and _origin_of(settings.resource) != _origin_of(settings.public_url):
        yield Weakness(
            "JWTGATE_PUBLIC_URL has another origin than JWTGATE_RESOURCE: clients find the one in its metadata, and their "
            "proofs must name the other.",
            "JWTGATE_PUBLIC_URL=<of the origin of JWTGATE_RESOURCE>",
            about="JWTGATE_PUBLIC_URL",
        )
    if any(network.endswith("/0") for network in settings.trusted_proxies or ()):
        yield Weakness(
            f"JWTGATE_TRUSTED_PROXIES holds every address: whoever reaches the server says in {settings.client_cert} whose "
            "certificate it has.",
            "JWTGATE_TRUSTED_PROXIES=<the addresses of the proxies>",
            about="JWTGATE_TRUSTED_PROXIES",
        )


def _origin_of(url: str | None) -> tuple[str, str | None, int]:
    parts = urlsplit(url or "")
    return parts.scheme, parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
