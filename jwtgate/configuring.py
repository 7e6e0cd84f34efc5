"""From settings to what the rooms of the core and the endpoints are told, once per gate. Decides nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from typing import TYPE_CHECKING

from jwtgate.core.http.challenge import Offer
from jwtgate.core.http.cookies import CookieRules, clear_cookies, set_cookies
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.http.live_paths import LivePaths
from jwtgate.core.possession.certificates import Certificates
from jwtgate.core.possession.nonces import Nonces
from jwtgate.core.possession.proof import ProofRules
from jwtgate.core.possession.rules import PossessionRules
from jwtgate.core.rules import Rules as RequestRules
from jwtgate.core.sessions.login import SessionRules
from jwtgate.core.statuses.published import StatusLists
from jwtgate.core.statuses.registry import Registry
from jwtgate.endpoints.call import Cookies, Rules
from jwtgate.endpoints.clients import Clients
from jwtgate.endpoints.protected_resource import ProtectedResource
from jwtgate.endpoints.routing import Endpoints
from jwtgate.errors import SettingsError
from jwtgate.pages import NotInstalled, Pages, Static
from jwtgate.stores.contract import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.effects import Clock
    from jwtgate.core.operations import Operations
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View
    from jwtgate.settings import Settings

__all__ = [
    "cookie_rules_of",
    "durability_of",
    "lists_of",
    "mounted",
    "offer_of",
    "policy_of_sessions",
    "possession_of",
    "reach_of",
    "registry_of",
    "resource_of",
    "rules_of",
    "session_rules_of",
]


def mounted(
    settings: Settings,
    operations: Operations,
    policy: IssuerPolicy | None,
    cookies: CookieRules,
    rules: RequestRules,
    clock: Clock,
) -> Endpoints | None:
    """The endpoints under ``ENDPOINTS``; None where it is unset.

    Args:
        settings: of the gate.
        operations: its plans.
        policy: of the issuer to which its sessions belong.
        cookies: how they are written.
        rules: of its requests.
        clock: its own.
    """
    if settings.endpoints is None:
        return None
    pages = _pages() if settings.devices else None
    in_cookies = Cookies(
        find_refresh_token=rules.extraction.refresh_cookie_of,
        set=lambda pair: set_cookies(cookies, pair, clock.wall()),
        clear=lambda: clear_cookies(cookies),
    )
    known = Rules(
        policy=policy,
        find_credential=rules.extraction.find,
        csrf=settings.csrf,
        origins=rules.origins,
        clients=Clients(settings.clients or ()),
        client_id=settings.client_id,
        max_token_bytes=settings.max_token_bytes,
        cookies=in_cookies if "cookie" in settings.locations else None,
        events_authorization=None
        if settings.events_authorization is None
        else sha256(settings.events_authorization.encode("latin-1")).digest(),
        policies=rules.policies,
        has_events=any(policy.events_audience is not None for policy in rules.policies.values()),
        has_lists=settings.status_lists is not None,
        draw=None if pages is None else lambda *page, **known: pages.draw(*page, now=clock.wall(), **known),
        style=None if pages is None else Static.load("console.css").response,
    )
    return Endpoints(settings.endpoints, operations, known)


def _pages() -> Pages:
    """Raises: SettingsError: the extra is not installed."""
    try:
        return Pages()
    except NotInstalled:
        raise SettingsError("JWTGATE_DEVICES needs jinja2: pip install 'jwtgate[console]'") from None


def policy_of_sessions(policies: Mapping[str | None, IssuerPolicy]) -> IssuerPolicy | None:
    """The issuer that signs, or the only one: a process that verifies alone may still end sessions."""
    for policy in policies.values():
        if policy.keys.signer is not None:
            return policy
    return next(iter(policies.values())) if len(policies) == 1 else None


def resource_of(settings: Settings, policy: IssuerPolicy | None) -> ProtectedResource | None:
    """The metadata of ``RESOURCE`` (RFC 9728 §2); None where it is unset.

    Args: settings: of the gate. policy: of the issuer to which its sessions belong, whose keys are published.
    """
    if settings.resource is None:
        return None
    admitted = [issuer for issuer, each in settings.policies.items() if issuer is not None and not each.admits_nothing]
    issuers = [issuer for issuer in admitted if issuer.startswith(("https://", "http://"))]
    members = {
        "authorization_servers": issuers,
        "scopes_supported": settings.resource_scopes,
        # Neither a cookie nor a WebSocket's subprotocol is a method of RFC 6750.
        "bearer_methods_supported": ["header"] if "header" in settings.locations else [],
        "dpop_signing_alg_values_supported": None if settings.dpop == "off" else settings.dpop_algorithms,
        "dpop_bound_access_tokens_required": settings.dpop == "required" or None,
        # Whether the server itself tells certificates nobody knows here.
        "tls_client_certificate_bound_access_tokens": settings.client_cert != "tls" or None,
    }
    signer = None if policy is None else policy.keys.signer
    is_published = settings.endpoints is not None and signer is not None and signer.public_jwk is not None
    return ProtectedResource(settings.resource, members, f"{settings.endpoints}/jwks.json" if is_published else None)


def session_rules_of(settings: Settings) -> SessionRules:
    """What holds for sessions."""
    return SessionRules(
        access_seconds=settings.access_ttl,
        session_seconds=settings.refresh_ttl,
        idle_seconds=settings.idle_ttl,
        grace_seconds=settings.refresh_grace,
        most=settings.max_sessions,
        client_id=settings.client_id,
        has_csrf=settings.csrf == "double-submit",
        is_journaled=settings.journal is not None,
    )


def cookie_rules_of(settings: Settings) -> CookieRules:
    """How cookies are written."""
    return CookieRules(
        settings.cookie,
        settings.refresh_cookie,
        is_secure=settings.cookie_secure,
        refresh_path="/" if settings.endpoints is None else f"{settings.endpoints}/refresh",
        has_csrf=settings.csrf == "double-submit",
    )


def registry_of(settings: Settings, clock: Clock, draw: Callable[[int], int]) -> Registry | None:
    """Where each token that is issued gets an entry of a status list; None: in none."""
    if settings.status_lists is None:
        return None
    return Registry(settings.status_lists, clock, settings.partitions, draw)


def lists_of(settings: Settings, policy: Callable[[], IssuerPolicy], view: View, clock: Clock) -> StatusLists:
    """The lists that are served; without ``STATUS_LISTS`` no endpoint asks for any."""
    return StatusLists(settings.status_lists or "", policy, view, clock, settings.status_ttl)


def reach_of(settings: Settings) -> float:
    """F2: how long this process may act on old knowledge."""
    match settings.on_store_down:
        case "admit":
            return math.inf
        case "cached":
            return settings.lease + settings.grace
        case _:
            return settings.lease


def possession_of(settings: Settings, clock: Clock) -> PossessionRules:
    """What requests with sender-constrained tokens must show."""
    secret, header = settings.dpop_nonce_secret, settings.client_cert
    return PossessionRules(
        dpop=settings.dpop,
        public_url=settings.public_url or "",
        proofs=ProofRules(
            tuple(settings.dpop_algorithms),
            settings.dpop_window,
            None if secret is None else Nonces(secret.encode(), clock.wall),
        ),
        certificates=Certificates(
            None if header == "tls" else header.encode(), tuple(map(ip_network, settings.trusted_proxies or ()))
        ),
    )


def offer_of(settings: Settings) -> Offer | None:
    """What challenges offer besides Bearer."""
    if settings.dpop == "off":
        return None
    return Offer(" ".join(settings.dpop_algorithms), is_alone=settings.dpop == "required")


def rules_of(settings: Settings, clock: Clock) -> RequestRules:
    """What holds for requests. The policies are copies: their keys change with those of one gate."""
    return RequestRules(
        policies={issuer: replace(policy) for issuer, policy in settings.policies.items()},
        extraction=Extraction(
            tuple(settings.locations),
            settings.cookie,
            settings.max_token_bytes,
            refresh_cookie_name=settings.refresh_cookie,
            reads_dpop=settings.dpop != "off",
        ),
        exemption=Exemption(tuple(settings.exempt or ())),
        csrf=settings.csrf,
        origins=frozenset(settings.origins or ()),
        is_optional=settings.mode == "optional",
        verifies_first=settings.order == "verify-first",
        max_token_bytes=settings.max_token_bytes,
        on_store_down=settings.on_store_down,
        is_allowlist=settings.validity == "allowlist",
        is_renewing=settings.rotate_after is not None,
        possession=possession_of(settings, clock),
        live_paths=LivePaths(settings.live),
    )


def durability_of(settings: Settings) -> Durability:
    """``DURABILITY`` as the store is told."""
    kind, _, count = settings.durability.partition(":")
    return Durability(replicas=int(count or 0), is_synced=kind == "fsync")
