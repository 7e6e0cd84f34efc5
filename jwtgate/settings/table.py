"""Settings: every row of the README's table, its default, its meaning and what it may be, in one place.

``Settings`` checks everything when it is built and tells every mistake at once; it reads only its arguments and the
files that they name. ``Settings.from_env`` alone reads the environment. The rules for one value are in allowed.py and
vocabulary.py; agreement.py applies them, and those between values; keys become policies in issuers.py.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from jwtgate.errors import SettingsError
from jwtgate.settings.agreement import DEFAULT_ACCESS_TTL_SECONDS, DEFAULT_REFRESH_COOKIE, Checked
from jwtgate.settings.allowed import Choice, Flag, Kind, Number, Whole
from jwtgate.settings.issuer_list import Issuers
from jwtgate.settings.issuers import ENTRY_KEYS, policies_of
from jwtgate.settings.masking import masked
from jwtgate.settings.presets import PRESET
from jwtgate.settings.vocabulary import (
    ALGORITHMS,
    AUDIENCE,
    CLIENT_CERT,
    CLIENT_ID,
    CLIENTS,
    COOKIE_NAME,
    DPOP_ALGORITHMS,
    DURABILITY,
    ENDPOINTS,
    EVENTS_AUTHORIZATION,
    EXEMPT,
    HANDLES,
    ISSUER,
    JOURNAL,
    JWKS_FILE,
    JWKS_URL,
    LEEWAY,
    LIVE,
    LOCATIONS,
    MAX_TTL,
    NONCE_SECRET,
    ORIGINS,
    OUR_NAMES,
    PEM,
    PREFIX,
    PRIVATE_KEYS,
    PUBLIC_URL,
    REALM,
    REQUIRE,
    RESOURCE,
    RESOURCE_SCOPES,
    SECRET,
    STATUS_FROM,
    STATUS_LISTS,
    STORE,
    TEN_YEARS_SECONDS,
    TRUSTED_PROXIES,
    TYP,
    VERSION_CLAIM,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["Settings", "rows"]

_T = TypeVar("_T")
_logger = logging.getLogger("jwtgate")

LIFETIME = Number(0, TEN_YEARS_SECONDS, excludes_least=True)


def _row(default: _T, kind: Kind, meaning: str) -> _T:
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What a gate is told. Each argument is a row of the table; lists may be any sequence and are held as tuples.

    Two that say the same are equal and hash alike. The repr shows no secret, key or password.

    Attributes (besides the rows):
        policies: one ``IssuerPolicy`` per configured issuer, by the issuer; under None where none is configured.
        warnings: what is sound but weak, for the log at start.

    Raises: SettingsError: with every mistake.
    """

    secret: str | None = _row(None, SECRET, "HMAC secret, at least as long as the hash (RFC 7518 §3.2).")
    private_key: str | os.PathLike[str] | None = _row(
        None, PEM, "PEM text (\\n escapes accepted) or path; it signs before SECRET does."
    )
    private_keys: str | os.PathLike[str] | None = _row(
        None, PRIVATE_KEYS, "Path of a JWK Set, or folder of sets, of keys that sign one after the other; see jwtgate keys."
    )
    derived_keys: bool = _row(False, Flag(), "1: our secrets sign nothing; each subject's tokens have a key derived from them.")
    public_key: str | os.PathLike[str] | None = _row(
        None, PEM, "PEM text (\\n escapes accepted) or path; a certificate is a public key."
    )
    jwks_file: str | os.PathLike[str] | None = _row(None, JWKS_FILE, "Path of a JWK Set.")
    jwks_url: str | None = _row(
        None, JWKS_URL, "URL of a JWK Set, fetched ahead of need; an ISSUER without any key is asked where its own is."
    )
    jwks_stale: float = _row(3600.0, Number(0, 604800), "Seconds a fetched set outlives its lifetime while no other comes.")
    jwks_http: bool = _row(False, Flag(), "1: keys may come by plain http, for development.")
    status_from: Sequence[str] | None = _row(
        None, STATUS_FROM, "Where status lists may stand that tokens name: issuer, or URLs; unset: a claim status says nothing."
    )
    algorithms: Sequence[str] | None = _row(
        None, ALGORITHMS, "Allow-list of algorithms; unset: from the keys. none is an error."
    )
    issuer: str | None = _row(None, ISSUER, "Exact match of iss when set.")
    audience: Sequence[str] | None = _row(
        None, AUDIENCE, "Any of them matches; unset: a token that has aud is refused; * accepts all."
    )
    issuers: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = _row(
        None, Issuers(), "JSON list or path: several issuers, each with its keys, audience, preset, claims; one may sign."
    )
    preset: str | None = _row(None, PRESET, "The identity provider by its name: what its tokens are like.")
    require: Sequence[str] = _row(("exp",), REQUIRE, "Claims that must be present.")
    leeway: float = _row(0.0, LEEWAY, "Seconds, for exp, nbf and iat.")
    typ: str | None = _row(None, TYP, "Exact typ, for example at+jwt; unset: any access token.")
    max_ttl: float = _row(
        2592000.0,
        MAX_TTL,
        "Seconds; tokens that expire further ahead are refused, and open-ended rulings kept so long.",
    )
    store: str = _row("memory://", STORE, "URL of the store of rulings and sessions.")
    journal: str | None = _row(None, JOURNAL, "URL of an SQL database that remembers what a Redis may forget.")
    prefix: str = _row("jwtgate", PREFIX, "Of the store's keys and tables: applications that must not share rulings.")
    validity: Literal["denylist", "allowlist"] = _row(
        "denylist",
        Choice(("denylist", "allowlist")),
        "denylist, or allowlist: the token's session must be live in the store.",
    )
    order: Literal["store-first", "verify-first"] = _row(
        "store-first", Choice(("store-first", "verify-first")), "What a miss asks first: the store, or the signature."
    )
    handles: Sequence[str] | None = _row(None, HANDLES, "More claims that rulings may name, for example tenant,group.")
    version_claim: str | None = _row(None, VERSION_CLAIM, "Integer claim compared with min_version.")
    locations: Sequence[str] = _row(("header",), LOCATIONS, "Where a token may be: any of header, cookie, subprotocol.")
    cookie: str = _row("__Host-access_token", COOKIE_NAME, "Name of the access token's cookie.")
    refresh_cookie: str = _row(
        DEFAULT_REFRESH_COOKIE, COOKIE_NAME, "Name of the refresh token's cookie; without COOKIE_SECURE refresh_token."
    )
    cookie_secure: bool = _row(True, Flag(), "0 for development over plain http, only with unprefixed names.")
    csrf: Literal["fetch-metadata", "double-submit", "off"] = _row(
        "fetch-metadata",
        Choice(("fetch-metadata", "double-submit", "off")),
        "How cookies on unsafe methods and WebSocket handshakes are protected.",
    )
    origins: Sequence[str] | None = _row(None, ORIGINS, "Origins allowed besides the request's own host.")
    mode: Literal["required", "optional"] = _row(
        "required",
        Choice(("required", "optional")),
        "optional: no token passes as anonymous; a bad token never does.",
    )
    exempt: Sequence[str] | None = _row(None, EXEMPT, "Paths that need no token; /a/* is /a/ and all below.")
    live: Sequence[str] = _row(
        ("close",),
        LIVE,
        "WebSockets and streams whose token dies: close, or ignore; also by path, for example close,/feed/*=ignore.",
    )
    ws_close: int = _row(4401, Whole(3000, 4999), "Close code of a WebSocket whose token died (RFC 6455 §7.4.2).")
    lease: float = _row(1.0, Number(0.05, 60), "Seconds a view may be trusted; the same for all processes of a store.")
    poll: float = _row(0.25, Number(0.01, 60), "Seconds between two looks at the change log of an SQL store.")
    durability: str = _row("0", DURABILITY, "What a receipt needs besides the store's word: replicas:N or fsync (Redis).")
    cache_size: int = _row(65536, Whole(1, 10_000_000), "Admitted tokens kept.")
    view_limit: int = _row(200000, Whole(0, 100_000_000), "Rulings kept in memory.")
    on_store_down: Literal["refuse", "cached", "admit"] = _row(
        "refuse", Choice(("refuse", "cached", "admit")), "What happens to requests while the store does not answer."
    )
    grace: float = _row(30.0, Number(0, 86400), "Seconds, for ON_STORE_DOWN=cached.")
    strict: bool = _row(False, Flag(), "1 refuses to start on an unsafe store.")
    max_token_bytes: int = _row(8192, Whole(256, 1_048_576), "Longer tokens are refused unread.")
    access_ttl: float = _row(
        DEFAULT_ACCESS_TTL_SECONDS,
        LIFETIME,
        "Seconds an issued access token lives; unset: at most MAX_TTL where that is less.",
    )
    client_id: str | None = _row(None, CLIENT_ID, "client_id of the tokens of sessions (RFC 9068 §2.2).")
    refresh_ttl: float = _row(2592000.0, LIFETIME, "Seconds a session lives.")
    idle_ttl: float | None = _row(None, LIFETIME, "Seconds a session lives without a refresh.")
    max_sessions: int | None = _row(None, Whole(1, 1000), "Sessions per subject; the oldest ends.")
    refresh_grace: float = _row(30.0, Number(0, 3600), "Seconds in which racers get the same successor; 0 turns it off.")
    rotate_after: int | None = _row(
        None, Whole(1, 1_000_000_000), "Requests per process after which a session's access token is replaced."
    )
    endpoints: str | None = _row(None, ENDPOINTS, "Mounts the endpoints under this path, for example /auth.")
    devices: bool = _row(False, Flag(), "1: ENDPOINTS/devices is a page on which users see and end their sessions.")
    status_lists: str | None = _row(
        None, STATUS_LISTS, "Public URL of ENDPOINTS/status: issued tokens name a status list there."
    )
    status_ttl: float = _row(30.0, Number(1, 3600), "Seconds for which others may use a status list of ours.")
    clients: Sequence[str] | None = _row(
        None, CLIENTS, "Who may introspect and revoke: client_id:SHA-256 of its secret in hex."
    )
    logout_audience: Sequence[str] | None = _row(
        None, OUR_NAMES, "aud of the ISSUER's logout tokens: our client ids; unset: none is taken (back-channel logout)."
    )
    events_audience: Sequence[str] | None = _row(
        None, OUR_NAMES, "aud of the ISSUER's security event tokens; unset: none is taken (Shared Signals, CAEP)."
    )
    events_authorization: str | None = _row(None, EVENTS_AUTHORIZATION, "Authorization that transmitters of events show.")
    realm: str = _row("jwtgate", REALM, "Realm in challenges.")
    resource: str | None = _row(
        None, RESOURCE, "URL of what is protected: it has metadata, and challenges say where (RFC 9728)."
    )
    resource_scopes: Sequence[str] | None = _row(None, RESOURCE_SCOPES, "Scopes that the metadata of RESOURCE name.")
    partitions: int = _row(1, Whole(1, 1024), "Slots of the store over which rulings and sessions spread.")
    dpop: Literal["off", "on", "required"] = _row(
        "off",
        Choice(("off", "on", "required")),
        "on: tokens that are bound to a key by DPoP (RFC 9449) pass, beside Bearer; required: no others; off: none of them.",
    )
    dpop_algorithms: Sequence[str] = _row(
        ("ES256", "EdDSA", "ES384", "ES512", "PS256", "RS256"), DPOP_ALGORITHMS, "Allow-list of algorithms of DPoP proofs."
    )
    dpop_window: float = _row(60.0, Number(1, 600), "Seconds a DPoP proof is good for, once; the store must answer.")
    dpop_nonce_secret: str | None = _row(
        None, NONCE_SECRET, "Secret of all workers: DPoP proofs must carry a nonce that is made from it (RFC 9449 §9)."
    )
    public_url: str | None = _row(
        None,
        PUBLIC_URL,
        "URL under which clients reach the server's root, as DPoP proofs name it; unset: the origin of RESOURCE, never Host.",
    )
    client_cert: str = _row(
        "tls",
        CLIENT_CERT,
        "Where the certificate is told that a token is bound to (RFC 8705): tls (by the server), or a proxy's header: "
        "Client-Cert (RFC 9440), X-Forwarded-Client-Cert (Envoy), any other with URL-encoded PEM.",
    )
    trusted_proxies: Sequence[str] | None = _row(
        None, TRUSTED_PROXIES, "Addresses and networks of the connections on which that header is believed."
    )

    policies: Mapping[str | None, IssuerPolicy] = field(init=False, compare=False)
    warnings: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        checked = Checked()
        for row in rows():
            checked.add(row, getattr(self, row.name))
        entries = checked.agree()
        policies = policies_of(_with_defaults(checked.values), entries)
        mistakes = [*checked.mistakes, *policies.mistakes]
        if mistakes:
            raise SettingsError(*mistakes)
        found = {**checked.values, "policies": policies.frozen(), "warnings": tuple(policies.warnings)}
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """What differs from the defaults, masked: it may stand in a log (threat 29)."""
        shown = ((row.name, getattr(self, row.name)) for row in rows() if getattr(self, row.name) != row.default)
        return f"Settings({', '.join(f'{name}={masked(name, value)}' for name, value in shown)})"

    @property
    def key_files(self) -> tuple[str, ...]:
        """The files and folders that hold keys, as they were named: what stands in them may change while a gate runs."""
        own = (self.private_key, self.private_keys, self.public_key, self.jwks_file)
        listed = (each.get(name) for each in json.loads(str(self.issuers or "[]")) for name in ENTRY_KEYS if name != "secret")
        return tuple(str(value) for value in (*own, *listed) if value is not None and "-----BEGIN" not in str(value))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """The settings that ``JWTGATE_<FIELD>`` or ``JWTGATE_<FIELD>_FILE`` give.

        Args: environ: names to text; by default this process's environment.
        Raises: SettingsError: with every mistake, misspelt names included.
        """
        from jwtgate.settings.environment import read  # here, since environs takes 0.1 s to import

        shapes = {row.name: row.metadata["kind"].shape for row in rows()}
        reading = read(os.environ if environ is None else environ, shapes)
        mistakes = reading.mistakes
        settings = None
        try:
            settings = cls(**reading.values)
        except SettingsError as error:
            mistakes += error.mistakes
        if settings is None or mistakes:
            raise SettingsError(*mistakes)
        if reading.unknown:
            _logger.warning("ignored, not settings of jwtgate: %s", ", ".join(map(ascii, reading.unknown)))
        return settings


def rows() -> list[Field[Any]]:
    """Those of the table, in its order."""
    return [row for row in fields(Settings) if row.init]


def _with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mistaken rows at their defaults, so that the keys can be judged all the same."""
    return {row.name: values.get(row.name, row.default) for row in rows()}
