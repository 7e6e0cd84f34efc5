"""The shapes that travel between the rooms of the package. Frozen data, no rule lives here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Credential",
    "DPoPCredential",
    "Receipt",
    "Request",
    "Response",
    "Session",
    "Source",
    "Status",
    "Token",
    "TokenPair",
]

Source = Literal["header", "cookie", "subprotocol"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a shell tells the core of a request; the same from ASGI and WSGI.

    Attributes:
        method: as sent, case kept (RFC 9110 §9.1: methods are case-sensitive); ``"GET"`` for a WebSocket handshake.
        path: the path the application routes on, decoded; None where it is not valid UTF-8, or not certain.
        raw_path: the path as it stood on the request line, where the server tells it.
        headers: (lower-case name, value) pairs in the order received, duplicates kept; all of them only where the gate has
            checks, else those that the gate itself reads.
        is_websocket: True for a WebSocket handshake.
        client: the address of the other end of the connection as the server tells it, or None.
        connection: the ASGI scope or WSGI environ, for what only tokens that are bound to their sender are asked for.
    """

    method: str
    path: str | None
    raw_path: bytes | None
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    is_websocket: bool = False
    client: str | None = None
    connection: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A token string as found in a request. Nothing in it is trusted yet.

    Attributes:
        source: where it was found.
        is_dpop: under the scheme DPoP (RFC 9449 §7.1).
    """

    is_dpop: ClassVar[bool] = False

    token: bytes = field(repr=False)
    source: Source


class DPoPCredential(Credential):
    """One under the scheme DPoP. A class of its own, so that no other credential pays for a field."""

    __slots__ = ()

    is_dpop = True


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the gate itself: status code, (name, value) pairs in latin-1, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """A verified JWT, as the application receives it (RFC 7519). Immutable at every depth.

    Attributes:
        claims: the JWT Claims Set.
        header: the JOSE header.
        subject: ``sub``, or None.
        issuer: ``iss``, or None.
        token_id: ``jti``, or None.
        session_id: ``sid``, or None.
        scopes: from ``scope`` or ``scp``; empty when absent.
        expires_at: ``exp``, NumericDate in seconds, or None.
        source: where it was found; None from ``Gate.verify``.
    """

    claims: Mapping[str, Any]
    header: Mapping[str, Any]
    subject: str | None
    issuer: str | None
    token_id: str | None
    session_id: str | None
    scopes: frozenset[str]
    expires_at: float | None
    source: Source | None

    def __repr__(self) -> str:
        """Names no claim: a Token in a log line must not leak (no token, key or claim value in a log)."""
        return f"<Token source={self.source!r}>"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh gives (RFC 6749 §5.1).

    Attributes:
        access_token: a JWT (RFC 9068).
        refresh_token: opaque; good for one use.
        expires_in: seconds that the access token lives, counted from when it was made.
        session_id: the ``sid`` of the session.
        token_type: ``DPoP`` where the access token is bound to a key (RFC 9449 §5).
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    session_id: str = field(repr=False)
    token_type: Literal["Bearer", "DPoP"] = "Bearer"  # noqa: S105 - its kind, no token

    def as_dict(self) -> dict[str, str | int]:
        """The members of the answer of a token endpoint (RFC 6749 §5.1)."""
        return {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
        }


@dataclass(frozen=True, slots=True)
class Session:
    """One login on one device, as the store knows it. Times are NumericDates in seconds.

    Attributes:
        sid: names it.
        subject: whose it is.
        device, ip, user_agent: as given at login, or None.
        created_at: of the login.
        last_seen_at: of the last request or refresh, up to a few seconds late.
        expires_at: when it ends if nothing is done: its absolute end, or the idle one where that is earlier.
    """

    sid: str = field(repr=False)
    subject: str = field(repr=False)
    device: str | None = field(repr=False)
    ip: str | None = field(repr=False)
    user_agent: str | None = field(repr=False)
    created_at: float
    last_seen_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a revocation can prove, a snapshot.

    Attributes:
        position: where the ruling stands in the change log; opaque.
        at: when it was written, NumericDate in seconds, the later of the store's and the caller's clock.
        effective_everywhere: True only when every process that may act on old knowledge has applied the ruling or can no
            longer act on it.
        effective_by: NumericDate, seconds: true at the latest from then; None if a process under ``ON_STORE_DOWN=admit``
            might not hear of it. One that was killed is like one that is cut off: ``jwtgate doctor`` says how to take it off
            the list of workers.
        workers: how many processes have acknowledged.
        waited_seconds: how long the call waited.
        replicas, fsyncs: how many replicas, and servers on their disk, were known to have it before it was given; None where
            ``JWTGATE_DURABILITY`` does not ask.
    """

    position: str
    at: float
    effective_everywhere: bool
    effective_by: float | None
    workers: int
    waited_seconds: float
    replicas: int | None = None
    fsyncs: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What one process knows, for a health page.

    Attributes:
        live: the view may be trusted right now.
        complete: the view holds every live ruling.
        position: its place in the change log, opaque; None before it is loaded.
        view_age_seconds: seconds since the read of the log that the lease counts from; None before the first.
        lease_left_seconds: 0.0 when lapsed.
        rulings: rulings held in memory.
        admitted: tokens held in memory.
        store: ``"up"``, ``"down"`` or ``"healing"``.
        hits, misses: requests decided from memory, and all others that showed a token.
        look_ups: store calls made for requests.
        refused: reason to count.
    """

    live: bool
    complete: bool
    position: str | None
    view_age_seconds: float | None
    lease_left_seconds: float
    rulings: int
    admitted: int
    store: Literal["up", "down", "healing"]
    hits: int
    misses: int
    look_ups: int
    refused: Mapping[str, int]
