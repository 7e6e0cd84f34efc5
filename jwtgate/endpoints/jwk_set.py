"""``GET /jwks.json``: the public keys under which tokens of our issuer verify (RFC 7517 §5). Never a secret.

Only those of the issuer to which the sessions belong: whoever trusts this set would take a partner's token for ours, were the
partner's keys in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jwtgate.core.keys import KeyRing
from jwtgate.endpoints.answers import as_json

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Response

__all__ = ["jwk_set"]


def jwk_set(call: Call) -> Plan[Response]:
    """Those of the issuer of our sessions. Empty where it has only secrets, and where several issuers are none of ours."""
    yield from ()
    policy = call.rules.policy
    return _rendered(_NO_KEYS if policy is None else policy.keys)


_NO_KEYS = KeyRing(())


@lru_cache(maxsize=16)  # A ring never changes, and anybody may ask: a set of 256 keys takes milliseconds to write.
def _rendered(ring: KeyRing) -> Response:
    return as_json({"keys": _published(ring)}, media_type="application/jwk-set+json")


def _published(ring: KeyRing) -> list[dict[str, Any]]:
    """Each key once: one that serves several algorithms is listed without ``alg`` (RFC 7517 §4.4: it is optional)."""
    signer = None if ring.signer is None else ring.signer.public_jwk
    listed: list[dict[str, Any]] = [] if signer is None else [dict(signer)]
    for key in ring.keys:
        jwk = None if key.is_own else key.public_jwk
        if jwk is None:
            continue
        twin = next((each for each in listed if _without_algorithm(each) == _without_algorithm(jwk)), None)
        if twin is None:
            listed.append(dict(jwk))
        else:
            twin.pop("alg", None)
    return listed


def _without_algorithm(jwk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != "alg"}
