"""How a JWT is written and signed (RFC 7515 §7.1, RFC 7519 §7.1). Decides nothing about what stands in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jwt.utils import base64url_encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.keys.ring import Signer

__all__ = ["sign", "unsigned"]


def sign(signer: Signer, claims: Mapping[str, Any], typ: str = "at+jwt") -> str:
    """Make a token (RFC 7515 §7.1, RFC 9068 §2.1).

    Args:
        signer: our own key.
        claims: the whole Claims Set; nothing is added.
        typ: of the header.

    Raises:
        ValueError: NaN, Infinity or half of a surrogate pair in the claims. TypeError: not JSON.
    """
    signing_input = _signing_input(signer, claims, typ)
    return (signing_input + b"." + base64url_encode(signer.sign(signing_input))).decode()


def unsigned(signer: Signer, claims: Mapping[str, Any], typ: str, signature_bytes: int) -> bytes:
    """What ``sign`` makes, with zeros for a signature: to be judged before there is anything to sign. Raises: as ``sign``."""
    return _signing_input(signer, claims, typ) + b"." + base64url_encode(bytes(signature_bytes))


def _signing_input(signer: Signer, claims: Mapping[str, Any], typ: str) -> bytes:
    header = {"alg": signer.algorithm, "typ": typ}
    if signer.kid is not None:
        header["kid"] = signer.kid
    return b".".join(map(_segment_of, (header, claims)))


def _segment_of(members: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(members), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64url_encode(text.encode())
