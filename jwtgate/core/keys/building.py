"""From the key settings of one issuer to its ring of keys, with every mistake said at once.

RFC 7517, RFC 7518 §3.1. Takes text: files are read and key sets fetched elsewhere. What a key must be to be usable
stands in ``keys.material``, which key a token gets in ``keys.ring``.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jwtgate.core.handles import digest_of
from jwtgate.core.keys.material import (
    ALGORITHMS,
    Material,
    UnusableKeyError,
    material_of,
    private_key_of,
    public_key_of,
    published_jwk_of,
    read_jwk,
    read_secret,
    thumbprint_of,
)
from jwtgate.core.keys.ring import Key, KeyRing, Signer
from jwtgate.core.keys.schedule import next_change, read_own_keys, signing, verifying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwtgate.core.keys.material import PrivateKey
    from jwtgate.core.keys.schedule import OwnKey

__all__ = ["Built", "build"]

MAX_JWKS = 256
"""Keys in one set; real sets hold under twenty."""

OWN_KID = "own"
"""Marks tokens under our SECRET where a JWK Set holds other secrets, so that the key is found without being tried."""


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a configuration.

    Attributes:
        ring: None where there is no key, or a mistake.
        mistakes: sentences that name the variable and what is allowed; the gate must not start.
        warnings: sentences on keys of a set that were skipped.
    """

    ring: KeyRing | None
    mistakes: tuple[str, ...]
    warnings: tuple[str, ...]


def build(  # noqa: PLR0913 - one source of keys each
    *,
    secret: str | None = None,
    private_key: str | None = None,
    private_keys: str | None = None,
    public_key: str | None = None,
    jwks: str | None = None,
    now: float = 0.0,
    algorithms: Sequence[str] | None = None,
    namespace: str = "",
    label: str = "",
    is_fetched: bool = False,
    key_issuers: frozenset[str] | None = None,
) -> Built:
    """Make the ring that these settings ask for.

    Args:
        secret: HMAC secret.
        private_key: PEM text; it signs before the secret does, and its public half verifies.
        private_keys: JSON text of a JWK Set of our own keys with their times, see ``keys.schedule``; instead of these two.
        public_key: PEM text of a public key or certificate.
        jwks: JSON text of a JWK Set (RFC 7517 §5).
        now: NumericDate, for which ``private_keys`` are read.
        algorithms: the allow-list; None: from the keys.
        namespace: to which the handles of the keys belong.
        label: how the settings are called in sentences, ``JWTGATE_ISSUERS[0]``; empty: ``JWTGATE_…``.
        is_fetched: the set comes from ``JWKS_URL``: no secret may be in it, and an algorithm may wait for its key.
        key_issuers: what the member ``issuer`` of a key in the set may say, if it says anything; None: nobody asks.

    Returns:
        The ring with every mistake and warning, none of which holds key material.
    """
    bench = _Bench(namespace, label, is_fetched=is_fetched, key_issuers=key_issuers)
    bench.allow(algorithms)
    if private_key is not None:
        bench.add_private_key(private_key)
    if private_keys is not None:
        bench.add_own_keys(private_keys, now)
    if secret is not None:
        bench.add_secret(secret)
    if public_key is not None:
        bench.add_public_key(public_key)
    if jwks is not None:
        bench.add_jwk_set(jwks)
    return bench.finish()


class _Serving(NamedTuple):
    """A key and the algorithms it is to serve."""

    material: Material
    algorithms: tuple[str, ...]


class _Bench:
    """Where a ring is put together: keys and sentences gather until ``finish``."""

    def __init__(self, namespace: str, label: str, *, is_fetched: bool, key_issuers: frozenset[str] | None) -> None:
        self.namespace = namespace
        self.label = label
        self.is_fetched = is_fetched
        self.key_issuers = key_issuers
        self.allowed: tuple[str, ...] | None = None
        self.private_key: PrivateKey | None = None
        self.own: _Serving | None = None
        self.owned: dict[bytes, OwnKey] = {}
        self.now_signing: OwnKey | None = None
        self.changes_at = inf
        self.secret: _Serving | None = None
        self.public: _Serving | None = None
        self.listed: list[_Serving] = []
        self.mistakes: list[str] = []
        self.warnings: list[str] = []

    def name(self, setting: str) -> str:
        return f"{self.label}.{setting.lower()}" if self.label else f"JWTGATE_{setting}"

    def allow(self, algorithms: Sequence[str] | None) -> None:
        if algorithms is None:
            return
        known = tuple(dict.fromkeys(each for each in algorithms if each in ALGORITHMS))
        self.allowed = known or None
        if not known or len(known) < len(set(algorithms)):
            self.mistakes.append(f"{self.name('ALGORITHMS')}: allowed are {', '.join(ALGORITHMS)}; never none")

    def serving(self, material: Material) -> _Serving:
        """Raises: UnusableKeyError: it fits no allowed algorithm."""
        if self.allowed is None:
            return _Serving(material, material.fitting[:1])
        served = tuple(each for each in self.allowed if each in material.fitting)
        if not served:
            raise UnusableKeyError(f"serves no algorithm of {self.name('ALGORITHMS')}")
        return _Serving(material, served)

    def add_private_key(self, pem: str) -> None:
        try:
            self.private_key = private_key_of(pem)
            self.own = self.serving(material_of(self.private_key.public_key()))
        except UnusableKeyError as unusable:
            self.mistakes.append(f"{self.name('PRIVATE_KEY')}: {unusable}")

    def add_own_keys(self, text: str, now: float) -> None:
        """Those that verify now. One that this version cannot use is a mistake: it would be missed when it is to sign."""
        try:
            keys = read_own_keys(text)
            self.now_signing = signing(keys, now)
            self.changes_at = next_change(keys, now)
            for key in verifying(keys, now):
                if self.allowed is not None and key.algorithm not in self.allowed:
                    raise UnusableKeyError(f"holds a key for {key.algorithm}, which {self.name('ALGORITHMS')} does not")
                self.owned[key.material.identity] = key
                self.listed.append(_Serving(key.material, (key.algorithm,)))
            if self.now_signing is None:
                raise UnusableKeyError(
                    "holds no key that may sign now; nbf says from when a key signs, exp until when it verifies"
                )
        except UnusableKeyError as unusable:
            self.mistakes.append(f"{self.name('PRIVATE_KEYS')}: {unusable}")

    def add_secret(self, secret: str) -> None:
        try:
            material = read_secret(secret)
            if any(each.startswith("HS") and each not in material.fitting for each in self.allowed or ()):
                raise UnusableKeyError("an HMAC secret must be 32 bytes long for HS256, 48 for HS384, 64 for HS512")
            self.secret = self.serving(material)
        except UnusableKeyError as unusable:
            self.mistakes.append(f"{self.name('SECRET')}: {unusable}")

    def add_public_key(self, pem: str) -> None:
        try:
            material = material_of(public_key_of(pem))
            if self.is_own(material):
                return
            public = self.serving(material)
            if self.own is not None and set(public.algorithms) & set(self.own.algorithms):
                raise UnusableKeyError(
                    f"serves the same algorithm as {self.name('PRIVATE_KEY')} and neither has a kid; "
                    f"put it into {self.name('JWKS_FILE')}, with one"
                )
            self.public = public
        except UnusableKeyError as unusable:
            self.mistakes.append(f"{self.name('PUBLIC_KEY')}: {unusable}")

    def add_jwk_set(self, text: str) -> None:
        """RFC 7517 §5: a member that cannot be used is skipped, and never loses the set."""
        name = self.name("JWKS_URL" if self.is_fetched else "JWKS_FILE")
        members = _members_of(text)
        if members is None:
            self.mistakes.append(f"{name}: must be a JWK Set, a JSON object with an array keys of 1 to {MAX_JWKS} keys")
            return
        for index, member in enumerate(members):
            try:
                self.listed.append(self.serving(self.read(member)))
            except UnusableKeyError as unusable:
                self.warnings.append(f"{name}: keys[{index}] is skipped: {unusable}")
        lists_own = any(self.is_own(each.material) for each in self.listed)
        self.drop_rivals(name)
        if not self.listed and not lists_own:
            self.mistakes.append(f"{name}: holds no usable key; {'; '.join(self.warnings)}")

    def read(self, member: Any) -> Material:
        material = read_jwk(member)
        if self.is_fetched and isinstance(material.key, bytes):
            raise UnusableKeyError("a secret in a published set is none")
        if self.key_issuers is not None and member.get("issuer") not in (None, *self.key_issuers):
            raise UnusableKeyError("it is a key of another issuer")
        return material

    def drop_rivals(self, name: str) -> None:
        """Where two keys share kid and algorithm nobody can say which is meant, so neither verifies."""
        distinct = {(each.material.kid, each.material.identity, each.algorithms): each for each in self.listed}
        claims = Counter((alg, each.material.kid) for each in distinct.values() for alg in each.algorithms)
        claims.update((alg, None) for each in self.configured() for alg in each.algorithms)
        self.listed = [
            each
            for each in distinct.values()
            if each.material.identity in self.owned or all(claims[alg, each.material.kid] == 1 for alg in each.algorithms)
        ]
        if any(each not in self.listed and not self.is_own(each.material) for each in distinct.values()):
            self.warnings.append(f"{name}: keys that share kid and algorithm with another are skipped")

    def configured(self) -> list[_Serving]:
        return [each for each in (self.own, self.secret, self.public) if each is not None]

    def is_own(self, material: Material) -> bool:
        """PRIVATE_KEY signs before SECRET does."""
        own = self.own or self.secret
        return material.identity in self.owned or (own is not None and own.material.identity == material.identity)

    def finish(self) -> Built:
        everything = [*self.configured(), *self.listed]
        served = {alg for each in everything for alg in each.algorithms}
        missing = [each for each in self.allowed or () if each not in served]
        if missing and everything and not self.is_fetched and not self.mistakes:
            self.mistakes.append(f"{self.name('ALGORITHMS')}: no configured key serves {', '.join(missing)}")
        ring = self.ring() if everything and not self.mistakes else None
        return Built(ring, tuple(self.mistakes), tuple(self.warnings))

    def ring(self) -> KeyRing:
        """Our own key goes by the kid under which the set lists it, if it does."""
        named = next((e for e in self.listed if self.is_own(e.material) and e.material.kid is not None), None)
        configured = [each for each in self.configured() if named is None or not self.is_own(each.material)]
        keys = [
            Key(each.material.kid, alg, self.is_own(each.material), self.handle(each.material), each.material.key)
            for each in (*configured, *self.listed)
            for alg in each.algorithms
        ]
        return KeyRing(keys, self.signer(named), self.changes_at)

    def handle(self, material: Material) -> bytes:
        """Of the key, whatever it is called."""
        return digest_of(self.namespace, "key", material.fingerprint)

    def signer(self, named: _Serving | None) -> Signer | None:
        if self.now_signing is not None:
            own = self.now_signing
            verifies = own.material.key
            members = None if isinstance(verifies, bytes) else published_jwk_of(verifies, own.kid, own.algorithm)
            return Signer(own.algorithm, own.kid, members, own.private)
        listed_kid = named.material.kid if named is not None else None
        if self.private_key is not None and self.own is not None:
            public = self.private_key.public_key()
            alg = (named or self.own).algorithms[0]
            kid = listed_kid or thumbprint_of(public)
            return Signer(alg, kid, published_jwk_of(public, kid, alg), self.private_key)
        if self.secret is not None:
            alg = (named or self.secret).algorithms[0]
            has_rivals = any(alg in each.algorithms for each in self.listed)
            return Signer(alg, listed_kid or (OWN_KID if has_rivals else None), None, self.secret.material.key)
        return None


def _members_of(text: str) -> list[Any] | None:
    """The keys of a JWK Set, or None where the text is none."""
    try:
        jwk_set = json.loads(text)
    except (ValueError, RecursionError):
        return None
    members: list[Any] | None = cast("dict[str, Any]", jwk_set).get("keys") if isinstance(jwk_set, dict) else None
    return members if isinstance(members, list) and 0 < len(members) <= MAX_JWKS else None
