"""What Redis is asked, packed into the arguments of the scripts; ``answers`` reads what comes back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import Guard, KeptSession, SessionChange
    from jwtgate.stores.redis.dialling import Argument

__all__ = ["kept", "reach", "time", "write"]


def write(changes: Sequence[Change], sessions: Sequence[SessionChange], guard: Guard) -> Iterator[Argument]:
    """For write.lua, behind the caller's clock: lists, each behind its length, and the guard's user."""
    yield len(changes)
    for change in changes:
        yield from _change(change)
    yield len(guard.not_revoked)
    yield from (digest.hex() for digest in guard.not_revoked)
    yield len(guard.toggled_at)
    for digest, place in guard.toggled_at:
        yield from (digest.hex(), *(place or (b"", b"")))
    yield b"" if guard.user is None else guard.user.hex()
    yield len(guard.sids)
    yield from guard.sids
    yield len(sessions)
    for session in sessions:
        yield from _session(session)


def _change(change: Change) -> tuple[Argument, ...]:
    return (
        change.digest.hex(),
        b"" if change.revoked is None else int(change.revoked),
        b"1" if change.cuts_off else b"",
        b"" if change.min_version is None else change.min_version,
        time(change.until),
        time(change.cut_at),
    )


def _session(session: SessionChange) -> tuple[Argument, ...]:
    if session.record is None:
        return (session.sid, session.user.hex(), b"end")
    return (
        session.sid,
        session.user.hex(),
        b"put",
        session.expected or b"",
        session.record,
        b"".join(session.handles).hex(),
        repr(float(session.ends_at)),
        repr(float(session.seen_at)),
        session.successors,
        "" if session.successors_seconds <= 0 else max(1, int(session.successors_seconds * 1000)),
        session.stamp,
        session.turn,
    )


def kept(sessions: Sequence[KeptSession]) -> Iterator[Argument]:
    """For restore_sessions.lua, behind what concerns all of them."""
    for session in sessions:
        yield from (session.sid, session.user.hex(), session.record, session.stamp, b"".join(session.handles).hex())
        yield from (repr(float(session.ends_at)), repr(float(session.seen_at)), session.turn)


def time(value: float | None) -> str:
    """Without a finite end nothing is forgotten."""
    return repr(float(value)) if value is not None and math.isfinite(value) else ""


def reach(value: float) -> str:
    """Seconds; -1 is without bound."""
    return repr(float(value)) if math.isfinite(value) else "-1"
