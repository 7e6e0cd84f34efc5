"""The keys of one issuer: which one verifies a token, and which one signs ours.

RFC 8725 §3.1 and §3.10: the algorithm is bound to the key and both come from the configuration; the token's ``alg`` and
``kid`` only choose among them, and never more than one key is tried.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.effects import Pause
from jwtgate.core.keys.derived import derived_key, key_handle, salt_in
from jwtgate.core.keys.material import ALGORITHMS, public_jwk_of
from jwtgate.errors import KeysUnavailable, UnavailableError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.core.effects import Clock, Plan

__all__ = ["AWAITED_SECONDS", "Awaited", "Key", "KeyRing", "KeysAwaited", "KeysDue", "Signer", "named", "once_known"]

T = TypeVar("T")


class Awaited(UnavailableError):
    """What is missing is being fetched at this moment: whoever waits a little knows."""


class KeysDue(KeysUnavailable):
    """New ones are being fetched at this moment, and nothing says yet that none will come."""


class KeysAwaited(KeysDue, Awaited):
    """The first ones are being fetched at this moment."""


AWAITED_SECONDS = 2.0
"""After a process's start, in which its first keys are waited for."""

PAUSE_SECONDS = 0.02


def once_known(ask: Callable[[], T], clock: Clock) -> Plan[T]:
    """What ``ask`` returns; a process that has just begun waits a little for what it fetches first.

    Raises: what ``ask`` does; ``Awaited``: it took too long.
    """
    until = 0.0
    while True:
        try:
            return ask()
        except Awaited:
            until = until or clock.boot() + AWAITED_SECONDS
            if clock.boot() >= until:
                raise
            yield Pause(PAUSE_SECONDS)


def named(keys: Iterable[Key]) -> str:
    """Their kids for a log, whole if they are no longer than thumbprints are: whoever publishes a key names it as he likes."""
    kids = {"a key without kid" if key.kid is None else ascii(key.kid)[1:-1][:64] for key in keys}
    return ", ".join(sorted(kids))


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A key that verifies, bound to one algorithm. Equal only to itself; never shows its material.

    Attributes:
        kid: the Key ID it is configured with (RFC 7515 §4.1.4); None: it accepts any.
        algorithm: the only ``alg`` it serves.
        is_own: we sign with it, so what a token under it says of our change log can be believed.
        handle: the digest of its handle ``key``, by what it is: the same under any kid and in any process. A ruling
            ``revoked`` on it retires the key.
        deriving: None: it verifies itself; else it only gives each subject a key, whose handle is of this namespace.
        subject_handle: of a subject's key its own handle, where ``handle`` is that of the key it comes from.
    """

    kid: str | None
    algorithm: str
    is_own: bool
    handle: bytes
    _material: Any = field(repr=False)
    deriving: str | None = None
    subject_handle: bytes | None = None

    def of_subject(self, claims: Mapping[str, Any]) -> Key:
        """The key of a token's subject. Raises: UnknownKey: the token does not say whose, or under which number."""
        sub, salt = claims.get("sub"), salt_in(claims)
        if sub is None or salt is None or self.deriving is None:
            raise UnknownKey("the token has no sub, or no jgs: under JWTGATE_DERIVED_KEYS each subject has its own key")
        key = derived_key(self._material, self.algorithm, sub, salt)
        return replace(self, _material=key, deriving=None, subject_handle=key_handle(self.deriving, key))

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's (RFC 7515 §5.2), by PyJWT's algorithm."""
        return ALGORITHMS[self.algorithm].verify(signing_input, self._material, signature)

    @property
    def public_jwk(self) -> dict[str, str] | None:
        """What a JWK Set may publish of it (RFC 7517 §4); None for a secret."""
        if isinstance(self._material, bytes) or self.algorithm.startswith("HS"):
            return None
        members = {**public_jwk_of(self._material), "alg": self.algorithm, "use": "sig"}
        return members if self.kid is None else {**members, "kid": self.kid}


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """The key that signs our tokens.

    Attributes:
        algorithm: the ``alg`` of our tokens.
        kid: the ``kid`` of our tokens, or None: none is set.
        public_jwk: what a JWK Set endpoint may publish of it (RFC 7517 §4); None for a secret.
        derives: it only gives each subject a key.
    """

    algorithm: str
    kid: str | None
    public_jwk: Mapping[str, str] | None
    _material: Any = field(repr=False)
    derives: bool = False

    def of_subject(self, sub: str, salt: int) -> Signer:
        """The key of one subject, under a number."""
        return replace(self, _material=derived_key(self._material, self.algorithm, sub, salt), derives=False)

    def sign(self, signing_input: bytes) -> bytes:
        """The signature over these bytes (RFC 7515 §5.1)."""
        return ALGORITHMS[self.algorithm].sign(signing_input, self._material)


class KeyRing:
    """The keys of one issuer. Immutable: other keys are another ring (``IssuerPolicy.turn_to``).

    Attributes:
        keys: all of them.
        signer: signs our tokens, or None.
        changes_at: NumericDate from which the same configuration makes another ring; ``math.inf``: never.
        doubts: asked with the ``alg`` of a token that no key here fits: the error that says why nobody can know whether there
            is a key for it, or None: there is none.
        is_whole: whether all keys that are configured are here; False: some are still to come, or were too old.
    """

    __slots__ = ("_any_kid", "_by_kid", "_only", "changes_at", "doubts", "is_whole", "keys", "signer")

    def __init__(
        self,
        keys: Iterable[Key],
        signer: Signer | None = None,
        changes_at: float = inf,
        doubts: Callable[[str], KeysUnavailable | None] | None = None,
        *,
        is_whole: bool = True,
    ) -> None:
        """Args: keys: two of one algorithm and kid refuse each other's tokens. signer: may be None."""
        self.keys = tuple(keys)
        self.signer = signer
        self.changes_at = changes_at
        self.doubts = doubts
        self.is_whole = is_whole
        fitting = Counter(key.algorithm for key in self.keys)
        claimed = Counter((key.algorithm, key.kid) for key in self.keys)
        self._only = {key.algorithm: key for key in self.keys if fitting[key.algorithm] == 1}
        self._any_kid = {k.algorithm: k for k in self.keys if k.kid is None and claimed[k.algorithm, None] == 1}
        self._by_kid = {(key.algorithm, key.kid): key if claimed[key.algorithm, key.kid] == 1 else None for key in self.keys}

    def __repr__(self) -> str:
        """Shows no key."""
        return f"<KeyRing of {len(self.keys)}>"

    def candidates(self, alg: str, kid: str | None) -> Key:
        """The one key that may verify a token with this header.

        Args:
            alg: of the header, compared exactly: ``none`` in any case is never there.
            kid: of the header, or None.

        Raises:
            UnknownKey: no key, or more than one, fits. A key configured without kid accepts any kid; a token without
                kid needs exactly one key that fits its algorithm; an unknown kid is never tried on every key.
            KeysUnavailable: the key may be one that has not come here yet.
        """
        if kid is None or (alg, kid) in self._by_kid:
            key = self._only.get(alg) if kid is None else self._by_kid[alg, kid]
        else:
            key = self._any_kid.get(alg)
            if key is not None and self.doubts is not None:
                self.doubts(alg)  # the key of that name may have been published since: it is asked for meanwhile
        if key is None:
            if self.doubts is not None and (kid is not None or not self.is_whole):
                unavailable = self.doubts(alg)
                if unavailable is not None:
                    try:
                        raise unavailable
                    finally:
                        del unavailable  # else frame and error hold each other, and the request, until the collector comes
            raise UnknownKey("no configured key fits the token's alg and kid")
        return key

    def foreign(self) -> KeyRing:
        """These keys as somebody else's: they verify, sign nothing here, and what they sign has no stamp that is believed."""
        keys = [replace(key, is_own=False) for key in self.keys]
        return KeyRing(keys, None, self.changes_at, self.doubts, is_whole=self.is_whole)

    def deriving(self, namespace: str) -> KeyRing:
        """This ring, in which our own secrets only give each subject a key (``keys.derived``).

        Args: namespace: to which the handles of those belong.
        """
        keys = [replace(k, deriving=namespace) if k.is_own and k.algorithm.startswith("HS") else k for k in self.keys]
        signer = self.signer
        if signer is not None and signer.public_jwk is None:
            signer = replace(signer, derives=True)
        return KeyRing(keys, signer, self.changes_at, self.doubts, is_whole=self.is_whole)

    def joined(self, other: KeyRing) -> KeyRing:
        """This ring with the keys of another, whose signer is not taken over.

        Nobody else's set says which key is ours: what it lists under the name of one of ours, or ours itself, is left out. And
        a key of ours that accepts any kid answers to its own one alone from here on, for the others have theirs.
        """
        signer = self.signer
        named = [
            replace(key, kid=signer.kid)
            if signer is not None and key.is_own and key.kid is None and key.algorithm == signer.algorithm
            else key
            for key in self.keys
        ]
        names = {(key.algorithm, key.kid) for key in named if key.is_own and key.kid is not None}
        handles = {key.handle for key in named}
        others = [key for key in other.keys if key.handle not in handles and (key.algorithm, key.kid) not in names]
        changes_at = min(self.changes_at, other.changes_at)
        is_whole = self.is_whole and other.is_whole
        return KeyRing((*named, *others), signer, changes_at, self.doubts or other.doubts, is_whole=is_whole)
