"""The core's text of a session, as the store keeps it: JSON, compared byte for byte and read here alone.

Its size does not depend on how often the lineage has rotated: the current refresh token and the last few before it, each by
digest. What does not fit what this module writes was not written by it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REMEMBERED", "REMEMBERED_IN_GRACE", "Record", "Spent", "UnreadableRecord"]

REMEMBERED = 4
"""Spent refresh tokens that are told from all earlier ones, however long ago they were used."""

REMEMBERED_IN_GRACE = 16
"""Those that racers may still be asking with: a page that is loaded over and over for half a minute. Each keeps its sealed
successor, about 700 bytes, until its grace is over."""

MOST_ROTATIONS = 2**32 - 1
"""What a refresh token has room to count."""


class UnreadableRecord(ValueError):
    """Text under a session's key that no jwtgate wrote."""


class Spent(NamedTuple):
    """A refresh token that was used: digest, and when, by the store's clock."""

    digest: str
    at: float


class Joined(NamedTuple):
    """When a handle came to a session after its login: ``"<epoch>:<position>"``, and the time."""

    stamp: str
    at: float


@dataclass(frozen=True, slots=True)
class Record:
    """A session. Times are NumericDates in seconds.

    Attributes:
        subject: whose it is.
        created_at: of the login.
        absolute_end: when it ends whatever is done.
        idle_seconds: how long it lives without a refresh, or None.
        access_seconds: no access token of it lives longer, so what ends it must be remembered no longer.
        claims: of the application, and those that stay with the session: auth_time, client_id, csrf, scope.
        device, ip, user_agent: as given at login, or None.
        current: digest of the refresh token that may be used.
        generation: its number.
        spent: the last few before it, oldest first.
        joined: handles in hex that its claims brought after the login, as when it moved into a tenant: a cut-off on one of
            them before that is none of its concern.
    """

    subject: str
    created_at: float
    absolute_end: float
    idle_seconds: float | None
    access_seconds: float
    claims: Mapping[str, Any]
    device: str | None
    ip: str | None
    user_agent: str | None
    current: str = ""
    generation: int = 0
    spent: tuple[Spent, ...] = ()
    joined: Mapping[str, Joined] = field(default_factory=dict[str, Joined])

    def __repr__(self) -> str:
        """Shows nothing of it."""
        return "<Record>"

    @property
    def renewed_at(self) -> float:
        """When its latest access token was issued, by the store's clock."""
        return self.spent[-1].at if self.spent else self.created_at

    def ends_at(self, now: float) -> float:
        """When it is gone if it was last refreshed now."""
        return self.absolute_end if self.idle_seconds is None else min(self.absolute_end, now + self.idle_seconds)

    def rotated(
        self, digest: str, now: float, grace_seconds: float, claims: Mapping[str, Any], joined: Mapping[str, Joined]
    ) -> Record:
        """With another current refresh token; the one before it is the latest spent one."""
        spent = (*self.spent, Spent(self.current, now))[-REMEMBERED_IN_GRACE:]
        old, last = spent[:-REMEMBERED], spent[-REMEMBERED:]
        spent = (*(each for each in old if now - each.at < grace_seconds), *last)
        return replace(self, current=digest, generation=self.generation + 1, spent=spent, claims=claims, joined=joined)

    def encode(self) -> bytes:
        """The store's form."""
        shape = {
            "sub": self.subject,
            "created": self.created_at,
            "end": self.absolute_end,
            "idle": self.idle_seconds,
            "access": self.access_seconds,
            "claims": self.claims,
            "device": self.device,
            "ip": self.ip,
            "agent": self.user_agent,
            "current": self.current,
            "generation": self.generation,
            "spent": self.spent,
            "joined": self.joined,
        }
        return json.dumps(shape, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def decode(cls, text: bytes) -> Record:
        """Raises: UnreadableRecord."""
        try:
            shape: dict[str, Any] = json.loads(text)
            return cls(
                subject=_text(shape["sub"]),
                created_at=float(shape["created"]),
                absolute_end=float(shape["end"]),
                idle_seconds=None if shape["idle"] is None else float(shape["idle"]),
                access_seconds=float(shape["access"]),
                claims=dict(shape["claims"]),
                device=_text_or_none(shape["device"]),
                ip=_text_or_none(shape["ip"]),
                user_agent=_text_or_none(shape["agent"]),
                current=_text(shape["current"]),
                generation=_count(shape["generation"]),
                spent=tuple(Spent(_text(digest), float(at)) for digest, at in shape["spent"]),
                joined={str(handle): Joined(_text(stamp), float(at)) for handle, (stamp, at) in shape["joined"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UnreadableRecord("a stored session cannot be read") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnreadableRecord
    value.encode()  # a lone surrogate is a ValueError
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST_ROTATIONS:
        raise UnreadableRecord
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
