"""What the configuration asks of the tokens of one issuer: data, and the digests that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jwtgate.core.handles import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.claims import Claims
    from jwtgate.core.keys.ring import KeyRing
    from jwtgate.core.statuses.claim import ListRules
    from jwtgate.core.statuses.held import Statuses
    from jwtgate.core.tokens.profile import Profile

__all__ = ["ANY_AUDIENCE", "IssuerPolicy", "Published", "client_of", "spelt_otherwise"]

ANY_AUDIENCE = ("*",)
"""Accepts every ``aud`` and none."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where an issuer publishes a JWK Set, and what of it may be used.

    Attributes:
        url: of the set; or, if it is to be discovered, of the provider's metadata (OpenID Connect Discovery 1.0 §4).
        is_discovered: whether the metadata name the set.
        algorithms: the allow-list, or None: any that a published key serves.
        label: of the issuer's entry in the settings; empty: it is the only one.
        stale_seconds: for how long a set outlives its lifetime.
        is_plain: whether http will do.
        key_issuers: what the member ``issuer`` of a key may say, if it says anything; None: nobody asks.
    """

    url: str = field(repr=False)
    is_discovered: bool
    algorithms: tuple[str, ...] | None
    label: str
    stale_seconds: float
    is_plain: bool
    key_issuers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IssuerPolicy:
    """The settings that tokens of one issuer must meet.

    Attributes:
        issuer: the exact ``iss`` (RFC 7519 §4.1.1), or None: any, or none.
        namespace: to which the handles of its tokens belong; configured, never what a claim says.
        keys: its keys, whose algorithms are the allow-list. All that ever changes, in one step, by ``turn_to``.
        audience: any one must be in ``aud`` (RFC 7519 §4.1.3); None: a token that has ``aud`` is refused;
            ``ANY_AUDIENCE``: not compared.
        typ: the exact ``typ`` (RFC 8725 §3.11), or None: any access token.
        require: claims that must be present and not null.
        leeway_seconds: for exp, nbf and iat.
        max_ttl_seconds: a token that expires further ahead is refused.
        handle_claims: further claims that rulings may name.
        version_claim: integer claim compared with ``min_version``, or None.
        profile: how its tokens differ from others', or None: they do not.
        published: where more of its keys are published, or None: it has no others.
        logout_audience: our client ids at this provider: a logout token's ``aud`` holds one of them (OpenID Connect
            Back-Channel Logout §2.6); None: no logout token is taken.
        events_audience: the same for security event tokens (RFC 8417 §2.2).
        marks_sessionless: its tokens that name no session have a handle of their own, since one may be told to have ended.
        lists: whose status lists are consulted about its tokens, or None: a claim ``status`` says nothing.
        statuses: those lists, once a process follows them.
        prefixes: handle kind to the bytes that its digest starts from.
        everything: the digest of the handle ``all``.
    """

    issuer: str | None
    namespace: str
    keys: KeyRing
    audience: tuple[str, ...] | None
    typ: str | None
    require: tuple[str, ...]
    leeway_seconds: float
    max_ttl_seconds: float
    handle_claims: tuple[str, ...]
    version_claim: str | None
    published: Published | None = None
    profile: Profile | None = None
    logout_audience: tuple[str, ...] | None = None
    events_audience: tuple[str, ...] | None = None
    marks_sessionless: bool = False
    lists: ListRules | None = None
    statuses: Statuses | None = field(init=False, repr=False, default=None)
    prefixes: dict[str, bytes] = field(init=False, repr=False)
    everything: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Once per policy, what every token would compute again."""
        kinds = ("jti", "signing_input", "sid", "sub", "client_id", "sub_without_sid", *self.handle_claims)
        object.__setattr__(self, "prefixes", {kind: _netstrings(self.namespace, kind) for kind in kinds})
        object.__setattr__(self, "everything", digest_of(self.namespace, "all", ""))

    @property
    def wide_handles(self) -> frozenset[bytes]:
        """Those that many tokens share: of everything, and of each key that verifies now."""
        return frozenset({self.everything, *(key.handle for key in self.keys.keys)})

    @property
    def admits_nothing(self) -> bool:
        """Whether no token of it is for anybody: it only tells."""
        return self.profile is not None and self.profile.admits == "none"

    def turn_to(self, keys: KeyRing) -> None:
        """Other keys from now on. A request that has found its key goes on with it; the view refuses to remember it."""
        object.__setattr__(self, "keys", keys)

    def follow(self, statuses: Statuses) -> None:
        """Its status lists from now on."""
        object.__setattr__(self, "statuses", statuses)


def _netstrings(*texts: str) -> bytes:
    parts = [text.encode() for text in texts]
    return b"".join(b"%d:%b," % (len(part), part) for part in parts)


def spelt_otherwise(iss: str | None, policies: Mapping[str | None, IssuerPolicy]) -> IssuerPolicy | None:
    """The configured issuer that spells itself so, too: it stays one issuer with one namespace."""
    for policy in policies.values():
        if policy.profile is not None and iss in policy.profile.spellings:
            return policy
    return None


def client_of(claims: Claims, policies: Mapping[str | None, IssuerPolicy]) -> str | None:
    """The client that a token says it was issued to, wherever its issuer says that; the token may be anybody's.

    Raises: MalformedToken: a mapped claim that is no string.
    """
    iss = claims.get("iss")
    policy = policies.get(iss) or policies.get(None) or spelt_otherwise(iss, policies)
    named = claims if policy is None or policy.profile is None else policy.profile.named(claims)
    client: str | None = named.get("client_id")
    return client
