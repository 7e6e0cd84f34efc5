"""``GET /jwks.json``: the public keys under which tokens of our issuer verify (RFC 7517 §5). Never a secret.

The next key stands in it before it signs (``core.keys.schedule``), so a copy may be used for ``max-age`` seconds (RFC 9111
§5.2.2.1) and be asked for again by its entity tag (RFC 9110 §13.1.2).

Only those of the issuer to which the sessions belong: whoever trusts this set would take a partner's token for ours, were the
partner's keys in it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from jwtgate.core.keys.ring import KeyRing
from jwtgate.core.keys.schedule import MAX_AGE_SECONDS
from jwtgate.endpoints.answers import as_json, is_known
from jwtgate.messages import Response

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call

__all__ = ["jwk_set"]


def jwk_set(call: Call) -> Plan[Response]:
    """Those of the issuer of our sessions. Empty where it has only secrets, and where several issuers are none of ours."""
    yield from ()
    policy = call.rules.policy
    found = _rendered(_NO_KEYS if policy is None else policy.keys)
    tag = dict(found.headers)["etag"]
    if is_known(call.request, tag):
        return Response(304, tuple(header for header in found.headers if header[0] in ("etag", "cache-control")), b"")
    return found


_NO_KEYS = KeyRing(())


@lru_cache(maxsize=16)  # A ring never changes, and anybody may ask: a set of 256 keys takes milliseconds to write.
def _rendered(ring: KeyRing) -> Response:
    found = as_json({"keys": _published(ring)}, media_type="application/jwk-set+json")
    tag = f'"{sha256(found.body).hexdigest()[:32]}"'
    fresh = (("cache-control", f"public, max-age={MAX_AGE_SECONDS}"), ("etag", tag))
    return replace(found, headers=(*(header for header in found.headers if header[0] != "cache-control"), *fresh))


def _published(ring: KeyRing) -> list[dict[str, Any]]:
    """Each key once: one that serves several algorithms is listed without ``alg`` (RFC 7517 §4.4: it is optional)."""
    signer = None if ring.signer is None else ring.signer.public_jwk
    listed: list[dict[str, Any]] = [] if signer is None else [dict(signer)]
    for key in ring.keys:
        jwk = None if key.is_own and key.kid is None else key.public_jwk  # without kid it is the signer's, which has one
        if jwk is None:
            continue
        twin = next((each for each in listed if _without_algorithm(each) == _without_algorithm(jwk)), None)
        if twin is None:
            listed.append(dict(jwk))
        elif twin.get("alg") != jwk["alg"]:
            twin.pop("alg", None)
    return listed


def _without_algorithm(jwk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != "alg"}
