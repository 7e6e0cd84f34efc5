"""Rulings: what the store says of a handle, how two of them combine, and whom one kills.

Invariant: ``merge`` is a join (commutative, associative, idempotent), so rulings may arrive in any order, twice, or from
two histories, and a process that has merged one never knows less than before. Cut-offs, versions and ends combine by the
strictest; ``revoked`` by the latest position, because lifting is a ruling too.

A token is dead if any ruling on any of its handles kills it. A cut-off is compared by log position where both sides carry
one of the same epoch: no clock takes part then. A dated one, which somebody else gave a time that may be past, is compared by
times alone. Does not fetch, store or forget anything.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "MARGIN_SECONDS",
    "MAX_SKEW_SECONDS",
    "Change",
    "CutOff",
    "Issued",
    "Ruling",
    "Toggle",
    "UnreadableRuling",
    "is_revoked",
    "merge",
    "supersede",
]

N = TypeVar("N", int, float)

VERSION_LIMIT = 10**14
"""Versions stay below: the store's scripts compute in doubles and print 14 digits."""

MAX_SKEW_SECONDS = 60.0
"""Between the clocks of two of our processes, or one and the store: a write from further apart is refused."""

MARGIN_SECONDS = 3600.0
"""Rulings outlive the last token under them by an hour, for clocks that are off."""

TICK_SECONDS = 0.000001
"""Between two toggles of one handle: above the resolution of a double that holds a NumericDate (0.24 microseconds)."""


class Toggle(NamedTuple):
    """``revoked`` on or off, and since when."""

    is_revoked: bool
    epoch: str
    position: int
    at: float

    @property
    def place(self) -> tuple[str, int]:
        """Where in which history it was written."""
        return self.epoch, self.position


class CutOff(NamedTuple):
    """``not_before``: tokens issued before it are dead. ``at``: the later of the store's and the caller's clock."""

    epoch: str
    position: int
    at: float


class Issued(NamedTuple):
    """When a token was issued. ``stamp`` is (epoch, position) of a valid ``jgp``, else None; ``at`` is ``iat`` or None.

    ``began_at``: of its session, which dated cut-offs are about; None: it is of no session of ours.
    """

    stamp: tuple[str, int] | None
    at: float | None
    version: int | None = None
    began_at: float | None = None


class UnreadableRuling(ValueError):
    """Text under one of our keys that no jwtgate wrote."""


_NAMES = frozenset("rnvtu")


def _toggle(is_revoked: int, epoch: str, position: int, at: float) -> Toggle:
    return Toggle(bool(is_revoked), str(epoch), int(position), _finite(at))


def _cut_off(epoch: str, position: int, at: float) -> CutOff:
    return CutOff(str(epoch), int(position), _finite(at))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise UnreadableRuling
    return float(value)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing a revocation writes about one handle.

    Attributes:
        digest: the handle, 16 bytes.
        revoked: True revokes, False lifts, None says nothing.
        cuts_off: write a ``not_before`` at this entry's own position and time.
        min_version: lowest version alive, below 10**14, or None.
        until: NumericDate, seconds, after which no token can be under it; None: never forgotten.
        cut_at: NumericDate, seconds: what began by then is dead, and what began since is not; None says nothing. One that lies
            ahead counts as the entry's own time.
    """

    digest: bytes
    revoked: bool | None = None
    cuts_off: bool = False
    min_version: int | None = None
    until: float | None = None
    cut_at: float | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """All that holds for one handle."""

    toggle: Toggle | None = None
    not_before: CutOff | None = None
    min_version: int | None = None
    until: float | None = None
    cut_at: float | None = None

    def encode(self) -> bytes:
        """The store's form, compact JSON: r [0|1, epoch, position, at], n [epoch, position, at], v version, t cut_at, u."""
        shape: dict[str, object] = {}
        if self.toggle is not None:
            shape["r"] = [int(self.toggle[0]), *self.toggle[1:]]
        if self.not_before is not None:
            shape["n"] = list(self.not_before)
        if self.min_version is not None:
            shape["v"] = self.min_version
        if self.cut_at is not None:
            shape["t"] = self.cut_at
        if self.until is not None:
            shape["u"] = self.until
        return json.dumps(shape, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, text: bytes) -> Ruling:
        """Raises: UnreadableRuling: the text is none of ours."""
        try:
            shape: dict[str, Any] = json.loads(text)
            if type(shape) is not dict or not _NAMES.issuperset(shape):
                raise UnreadableRuling
            return cls(
                _toggle(*shape["r"]) if "r" in shape else None,
                _cut_off(*shape["n"]) if "n" in shape else None,
                int(shape["v"]) if "v" in shape else None,
                _finite(shape["u"]) if "u" in shape else None,
                _finite(shape["t"]) if "t" in shape else None,
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UnreadableRuling("a stored ruling cannot be read") from error

    @property
    def replaces(self) -> bool:
        """Whether it is on a token that was revoked because its session has been given another one, and for nothing since.

        ``ROTATE_AFTER`` dates the end as it writes it, and nobody else dates one on a token: a later ``revoked`` is of a later
        time than that.
        """
        toggle, cut_at = self.toggle, self.cut_at
        return toggle is not None and cut_at is not None and toggle.at <= cut_at

    def kills(self, issued: Issued, current_epoch: str, leeway_seconds: float) -> bool:
        """Whether a token issued so, and carrying the handle, is dead.

        Same epoch on both sides: dead if and only if issued before the cut-off. Only the cut-off is of the current epoch:
        dead. Only the token is: lives. Else by time, where the ambiguous second is refused:
        ``iat <= ceil(cut-off) + leeway``, and a token without iat is dead under any cut-off. Where the clocks of our own
        processes may be what makes it look younger, the position decides, which goes on from epoch to epoch unless the
        history was lost.
        """
        if (self.toggle is not None and self.toggle.is_revoked) or _began_by(self.cut_at, issued, leeway_seconds):
            return True
        if self.min_version is not None and (issued.version is None or issued.version < self.min_version):
            return True
        cut = self.not_before
        if cut is None:
            return False
        if issued.stamp is not None:
            epoch, position = issued.stamp
            if epoch == cut.epoch:
                return position < cut.position
            if cut.epoch == current_epoch:
                return True
            if epoch == current_epoch:
                return False
        latest = math.ceil(cut.at) + leeway_seconds
        if issued.at is None or issued.at <= latest:
            return True
        return issued.stamp is not None and issued.stamp[1] < cut.position and issued.at <= latest + MAX_SKEW_SECONDS


def _began_by(cut_at: float | None, issued: Issued, leeway_seconds: float) -> bool:
    """Providers tell whole seconds, and what began in the same one may have begun before: it is dead."""
    if cut_at is None:
        return False
    began_at = issued.at if issued.began_at is None else issued.began_at
    return began_at is None or math.floor(began_at) <= math.ceil(cut_at) + leeway_seconds


def is_revoked(text: bytes | None) -> bool:
    """Whether a stored ruling, if there is one, says ``revoked``. Raises: UnreadableRuling."""
    toggle = None if text is None else Ruling.decode(text).toggle
    return toggle is not None and toggle.is_revoked


def supersede(known: Ruling | None, change: Change, epoch: str, position: int, at: float) -> Ruling:
    """What holds once ``change`` has been written at ``position``: it is the latest, so its toggle wins.

    Its time is later than the one before even where a caller's clock was not, or it would lose against that one in another
    epoch. The store's write script does the same in Lua, in the atomic step; the conformance suite holds the two together.
    """
    old = known or Ruling()
    toggle = old.toggle
    if change.revoked is not None:
        toggle = Toggle(change.revoked, epoch, position, at if toggle is None else max(at, toggle.at + TICK_SECONDS))
    cut = old.not_before
    if change.cuts_off:
        cut = CutOff(epoch, position, at if cut is None else max(at, cut.at))
    version = _latest(old.min_version, change.min_version)
    until = change.until if known is None else _longest(old.until, change.until)
    cut_at = old.cut_at if change.cut_at is None else _latest(old.cut_at, min(change.cut_at, at))
    return Ruling(toggle, cut, version, until, cut_at)


def merge(one: Ruling, other: Ruling, current_epoch: str = "") -> Ruling:
    """What holds when both do: the strictest of each part, the toggle by latest position.

    Args: current_epoch: what was written in it came after whatever was written in another one, whatever clocks say.
    """
    return Ruling(
        _later_toggle(one.toggle, other.toggle, current_epoch),
        _stricter_cut(one.not_before, other.not_before, current_epoch),
        _latest(one.min_version, other.min_version),
        _longest(one.until, other.until),
        _latest(one.cut_at, other.cut_at),
    )


def _latest(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _longest(one: float | None, other: float | None) -> float | None:
    """None means for ever."""
    return None if one is None or other is None else max(one, other)


def _later_toggle(one: Toggle | None, other: Toggle | None, current_epoch: str) -> Toggle | None:
    """Positions order toggles of one epoch, and the current epoch comes last; between two old ones only times are left,
    and a tie revokes. The later time stays, so that the order stands when this epoch is an old one, too."""
    if one is None or other is None:
        return other if one is None else one
    if one.epoch == other.epoch:
        later = max(one, other, key=lambda toggle: (toggle.position, toggle.is_revoked, toggle.at))
    elif current_epoch in (one.epoch, other.epoch):
        later = one if one.epoch == current_epoch else other
    else:
        later = max(one, other, key=lambda toggle: (toggle.at, toggle.is_revoked, toggle.epoch, toggle.position))
    return later._replace(at=max(one.at, other.at))


def _stricter_cut(one: CutOff | None, other: CutOff | None, current_epoch: str) -> CutOff | None:
    """Of one epoch the later position; of two the current one, else the later in time. The time is the later one always."""
    if one is None or other is None:
        return other if one is None else one
    if one.epoch == other.epoch:
        return CutOff(one.epoch, max(one.position, other.position), max(one.at, other.at))
    if current_epoch in (one.epoch, other.epoch):
        later = one if one.epoch == current_epoch else other
    else:
        later = max(one, other, key=lambda cut: (cut.at, cut.epoch, cut.position))
    return later._replace(at=max(one.at, other.at))
