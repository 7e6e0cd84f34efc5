"""Checks settings one by one, then together. One rule a function, each yields its mistakes; a setting that is itself
mistaken is absent from the values, and the rules that need it keep silent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jwtgate.core.http.cookies import CSRF_COOKIE
from jwtgate.core.possession.target_uri import normal_uri
from jwtgate.settings.allowed import Kind, Unfit, Unread, sentence
from jwtgate.settings.issuers import checked_entries, is_discoverable
from jwtgate.settings.presets import default_issuer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from dataclasses import Field

__all__ = ["DEFAULT_ACCESS_TTL_SECONDS", "DEFAULT_REFRESH_COOKIE", "Checked"]

DEFAULT_REFRESH_COOKIE = "__Secure-refresh_token"
DEFAULT_ACCESS_TTL_SECONDS = 900.0
CSRF_COOKIES = (CSRF_COOKIE, f"__Host-{CSRF_COOKIE}")
KEYS = ("secret", "private_key", "private_keys", "public_key", "jwks_file", "jwks_url")


@dataclass(slots=True)
class Checked:
    """The rows that are sound each by itself, in normal form, and what is wrong with the others."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    mistakes: list[str] = field(default_factory=list[str])
    mistaken: list[str] = field(default_factory=list[str])

    def add(self, row: Field[Any], value: object) -> None:
        """Args: row: of Settings, with its default and its kind. value: as given."""
        kind: Kind = row.metadata["kind"]
        try:
            self.values[row.name] = None if value is None and row.default is None else _checked(kind, value)
        except Unfit as unfit:
            self.mistaken.append(row.name)
            self.mistakes.append(sentence(f"JWTGATE_{row.name.upper()}", unfit, kind.allowed))

    def agree(self) -> tuple[dict[str, Any], ...]:
        """Applies the rules between settings. Returns: the entries of ISSUERS, checked; none where it is not set."""
        self._follow_up()
        entries = self._take_entries()
        self.mistakes += _disagreements(self.values, self.mistaken)
        return entries

    def _follow_up(self) -> None:
        """Defaults that would contradict what was set follow it: nobody has chosen them."""
        values = self.values
        if "issuer" in values and values["issuer"] is None and values.get("issuers") is None:
            values["issuer"] = default_issuer_of(values.get("preset"))
        if values.get("access_ttl") == DEFAULT_ACCESS_TTL_SECONDS and "max_ttl" in values:
            values["access_ttl"] = min(DEFAULT_ACCESS_TTL_SECONDS, values["max_ttl"])
        if values.get("refresh_cookie") == DEFAULT_REFRESH_COOKIE and values.get("cookie_secure") is False:
            values["refresh_cookie"] = DEFAULT_REFRESH_COOKIE.removeprefix("__Secure-")
        resource = normal_uri(values.get("resource") or "")
        if resource is not None and values.get("dpop", "off") != "off" and values.get("public_url", "") is None:
            values["public_url"] = "/".join(resource.split("/")[:3])  # clients reach us where the resource is

    def _take_entries(self) -> tuple[dict[str, Any], ...]:
        """The entries of ISSUERS; the row itself becomes canonical JSON, so that equal lists are equal and hashable."""
        if self.values.get("issuers") is None:
            return ()
        entries, mistakes = checked_entries(self.values["issuers"])
        self.mistakes += mistakes
        self.values["issuers"] = json.dumps(entries, sort_keys=True)
        return entries


def _checked(kind: Kind, value: object) -> object:
    if isinstance(value, Unread):
        raise Unfit(value.found)
    return kind.check(value)


def _is_prefixed(cookie: str) -> bool:
    """Whether browsers take the cookie only with Secure. They compare the prefix in any case (RFC 6265bis §4.1.3)."""
    return cookie.lower().startswith(("__host-", "__secure-"))


def _disagreements(values: Mapping[str, Any], mistaken: Collection[str]) -> Iterator[str]:
    """Every mistake between settings.

    Args: values: the settings that are sound each by itself. mistaken: the names of the others.
    """
    given = {name for name, value in values.items() if value is not None} | set(mistaken)
    yield from _keys(values, given)
    yield from _lists(values, given)
    yield from _live(values)
    yield from _cookies(values)
    yield from _times(values)
    yield from _memories(values)
    yield from _possession(values, given)
    if values.get("partitions", 1) > 1 and not values.get("store", "redis").startswith(("redis", "unix")):
        yield sentence("JWTGATE_PARTITIONS", f"is {values['partitions']}, and JWTGATE_STORE is no Redis", "1")
    if values.get("durability", "0") != "0" and not values.get("store", "redis").startswith(("redis", "unix")):
        yield sentence("JWTGATE_DURABILITY", "is set, and JWTGATE_STORE is no Redis or Valkey", "0, or such a store")
    for name in ("logout_audience", "events_audience"):
        if values.get(name) is not None and "endpoints" not in given:
            yield sentence(
                f"JWTGATE_{name.upper()}", "is set without JWTGATE_ENDPOINTS, so nobody can tell", "both, or neither"
            )
        if values.get(name) is not None and not {"issuer", "issuers"} & given:
            yield sentence(f"JWTGATE_{name.upper()}", "is set without JWTGATE_ISSUER or JWTGATE_ISSUERS", "with one of them")
    if values.get("resource_scopes") is not None and "resource" not in given:
        yield sentence("JWTGATE_RESOURCE_SCOPES", "is set without JWTGATE_RESOURCE", "both, or neither")
    if values.get("devices") and "endpoints" not in given:
        yield sentence("JWTGATE_DEVICES", "is set without JWTGATE_ENDPOINTS, so there is no place for it", "both, or neither")
    if values.get("clients") is not None and "endpoints" not in given:
        yield sentence("JWTGATE_CLIENTS", "is set without JWTGATE_ENDPOINTS, so nobody can call", "both, or neither")


def _lists(values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
    address = values.get("status_lists")
    if address is None:
        return
    if "endpoints" not in given:
        yield sentence("JWTGATE_STATUS_LISTS", "is set without JWTGATE_ENDPOINTS, so nobody can ask", "both, or neither")
    if address.startswith("http://") and not values.get("jwks_http"):
        yield sentence("JWTGATE_STATUS_LISTS", "is of http", "https, or JWTGATE_JWKS_HTTP=1 for development")


def _keys(values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
    top_level = [f"JWTGATE_{name.upper()}" for name in KEYS if name in given]
    signing = [f"JWTGATE_{name.upper()}" for name in ("secret", "private_key") if name in given]
    if "private_keys" in given and signing:
        yield sentence(" and ".join(signing), "is set beside JWTGATE_PRIVATE_KEYS", "one place for the keys that sign")
    if values.get("derived_keys") and "private_key" in given:
        yield sentence("JWTGATE_DERIVED_KEYS", "is set, and JWTGATE_PRIVATE_KEY signs", "JWTGATE_SECRET alone")
    if "jwks_file" in given and "jwks_url" in given:
        yield sentence("JWTGATE_JWKS_FILE", "is set beside JWTGATE_JWKS_URL", "one of the two")
    if "issuers" in given:
        yield from _beside_issuers(top_level, given)
    elif not top_level and not is_discoverable(values.get("issuer")):
        allowed = ", ".join(f"JWTGATE_{name.upper()}" for name in (*KEYS, "issuers"))
        asked = "an https URL as JWTGATE_ISSUER, which is asked for its keys"
        yield f"No key is configured; allowed: any of {allowed}, or {asked}."


def _beside_issuers(top_level: list[str], given: Collection[str]) -> Iterator[str]:
    if "preset" in given:
        yield sentence("JWTGATE_PRESET", "is set beside JWTGATE_ISSUERS", "preset in its entries, each issuer with its own")
    if "issuer" in given:
        yield sentence("JWTGATE_ISSUER", "is set beside JWTGATE_ISSUERS", "one of the two")
    if top_level:
        allowed = "keys in the entries of JWTGATE_ISSUERS, each issuer with its own"
        yield sentence(" and ".join(top_level), "is set beside JWTGATE_ISSUERS", allowed)


def _memories(values: Mapping[str, Any]) -> Iterator[str]:
    """A journal remembers what a Redis may forget: an SQL store does so itself, and the memory of one process is no store."""
    if values.get("journal") is not None and not values.get("store", "redis:").startswith(("redis", "unix:")):
        yield sentence(
            "JWTGATE_JOURNAL", "is set, and JWTGATE_STORE is no Redis", "unset, or JWTGATE_STORE with a redis URL beside it"
        )


def _possession(values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
    """DPoP and client certificates: what one of them needs of the others."""
    dpop = values.get("dpop", "off")
    if dpop != "off" and "public_url" not in given:
        found = f"is {dpop} without JWTGATE_PUBLIC_URL or JWTGATE_RESOURCE, and what a client writes into Host proves nothing"
        yield sentence("JWTGATE_DPOP", found, "both, or off")
    locations = values.get("locations", ("header",))
    if dpop != "off" and "header" not in locations:
        yield sentence("JWTGATE_DPOP", f"is {dpop}, and JWTGATE_LOCATIONS has no header", "header among them, or off")
    if dpop == "required" and "cookie" in locations:
        yield sentence("JWTGATE_DPOP", "is required, and no cookie can prove anything", "JWTGATE_LOCATIONS=header, or on")
    if "dpop_nonce_secret" in given and dpop == "off" and "dpop" in values:
        yield sentence("JWTGATE_DPOP_NONCE_SECRET", "is set, and JWTGATE_DPOP is off", "both, or neither")
    is_header = values.get("client_cert", "tls") != "tls"
    if is_header and "trusted_proxies" not in given:
        yield sentence("JWTGATE_CLIENT_CERT", "names a header without JWTGATE_TRUSTED_PROXIES", "both, or tls")
    if "trusted_proxies" in given and not is_header and "client_cert" in values:
        found = "is set, and JWTGATE_CLIENT_CERT names no header that it could be about"
        yield sentence("JWTGATE_TRUSTED_PROXIES", found, "both, or neither")


def _live(values: Mapping[str, Any]) -> Iterator[str]:
    if {"close", "ignore"} <= set(values.get("live", ())):
        yield sentence("JWTGATE_LIVE", "has both close and ignore", "one of them, for all that no path names")


def _cookies(values: Mapping[str, Any]) -> Iterator[str]:
    for name in ("cookie", "refresh_cookie"):
        cookie = values.get(name)
        if cookie is not None and values.get("cookie_secure") is False and _is_prefixed(cookie):
            found = f"is {cookie!r}, which browsers refuse under JWTGATE_COOKIE_SECURE=0"
            yield sentence(f"JWTGATE_{name.upper()}", found, "a name without __Host- and __Secure-")
    refresh_cookie = values.get("refresh_cookie")
    if refresh_cookie is not None and refresh_cookie.lower().startswith("__host-") and values.get("endpoints") is not None:
        found = f"is {refresh_cookie!r}, which browsers take with Path=/ only, and it is meant for the refresh path alone"
        yield sentence("JWTGATE_REFRESH_COOKIE", found, "a name without __Host-")
    if values.get("csrf") == "double-submit":
        for name in ("cookie", "refresh_cookie"):
            if values.get(name) in CSRF_COOKIES:
                found = "has the name of the cookie that JWTGATE_CSRF=double-submit sets"
                yield sentence(f"JWTGATE_{name.upper()}", found, "another name")
    if values.get("cookie") is not None and values.get("cookie") == values.get("refresh_cookie"):
        yield sentence("JWTGATE_REFRESH_COOKIE", "has the name that JWTGATE_COOKIE has", "two different names")


def _times(values: Mapping[str, Any]) -> Iterator[str]:
    access_ttl, max_ttl = values.get("access_ttl"), values.get("max_ttl")
    if access_ttl is not None and max_ttl is not None and access_ttl > max_ttl:
        found = f"is {access_ttl:.15g}: the gate would refuse the tokens that it issues"
        yield sentence("JWTGATE_ACCESS_TTL", found, f"at most JWTGATE_MAX_TTL, {max_ttl:.15g}")
    if values.get("on_store_down") == "cached" and values.get("grace") == 0:
        yield sentence("JWTGATE_GRACE", "is 0", "a number above 0, since JWTGATE_ON_STORE_DOWN is cached")
