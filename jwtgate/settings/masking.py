"""What of a setting may stand in a log: no secret, no key, no password of a URL (threat 29)."""

from __future__ import annotations

from jwtgate.settings.urls import mask_url

__all__ = ["masked"]

MASKED = ("secret", "dpop_nonce_secret", "private_key", "public_key", "issuers", "events_authorization")
MASKED_URLS = ("store", "journal", "jwks_url")


def masked(name: str, value: object) -> str:
    """The value of a setting as a repr shows it."""
    if name in MASKED:
        return repr("***")
    return repr(mask_url(str(value)) if name in MASKED_URLS else value)
