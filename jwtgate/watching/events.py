"""What a watcher of the change log has to say, decided from what it reads. Does no I/O, reads no clock.

A read is held against what was read before (H2), as a follower does. But where a follower starts over, the watcher says
what happened and goes on: entries trimmed unseen, a history rewritten, a new epoch, a store that went away.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from jwtgate.core.history import LogEnd
from jwtgate.core.rulings import Ruling, UnreadableRuling
from jwtgate.wording import moment, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jwtgate.core.history import Entry

__all__ = ["Event", "Reader"]

LOG_START = "0"
"""Before any cursor of any store."""

Name = Literal["watching", "entry", "gap", "rewritten", "epoch", "away", "back"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell.

    Attributes:
        name: what it is.
        seen_at: NumericDate of this process.
        position: how far the log has been read.
        told: what else a program gets.
        words: what a person gets.
        ruling: that an entry holds, if it can be read.
    """

    name: Name
    seen_at: float
    position: int | None
    told: Mapping[str, object]
    words: str
    ruling: Ruling | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return {"event": self.name, "seen_at": self.seen_at, "position": self.position, **self.told}

    def of_partition(self, index: int) -> Event:
        """The same, told of one log among several."""
        return replace(self, told={**self.told, "partition": index}, words=f"[{index}] {self.words}")


class Reader:
    """How far the log has been read, and what each further read means."""

    def __init__(self, epoch: str, end: LogEnd, *, from_start: bool) -> None:
        """Args: epoch, end: as the store told them first."""
        self.epoch = epoch
        self.reported = end
        self.end: LogEnd | None = None if from_start else end

    @property
    def cursor(self) -> str:
        """Where to read on."""
        return LOG_START if self.end is None else self.end.cursor

    @property
    def position(self) -> int | None:
        """Of the last entry that was read."""
        return None if self.end is None else self.end.position

    def opening(self, now: float) -> Event:
        """The first."""
        start = "the oldest entry that is still there" if self.end is None else f"position {self.end.position}"
        return self._event("watching", now, f"watching from {start}, epoch {self.epoch}; Ctrl-C ends it", epoch=self.epoch)

    def away(self, now: float, reason: str) -> Event:
        """The store does not answer."""
        return self._event("away", now, f"the store is away, position {self.position} is kept: {reason}", reason=reason)

    def back(self, now: float) -> Event:
        """It does again."""
        return self._event("back", now, f"the store is back, going on from position {self.position}")

    def advance(self, entries: Sequence[Entry], epoch: str, after: LogEnd, now: float) -> Iterator[Event]:
        """What one read tells.

        Args:
            entries: read after ``cursor``.
            epoch: its name, as told after the read.
            after: the log's end, as told after the read.
            now: NumericDate.
        """
        if epoch != self.epoch:
            words = f"NEW EPOCH {epoch}, it was {self.epoch}: history may be lost; running workers write back what they know"
            yield self._event("epoch", now, words, epoch=epoch, previous=self.epoch)
            self.epoch = epoch
        if self.end is None and not entries:
            self.end = self.reported
        for entry in entries:
            yield from self._fault_before(entry, now)
            self.end = _end_of(entry)
            yield _told(entry, now)
        yield from self._fault_at_end(after, is_empty=not entries, now=now)
        self.reported = after

    def _fault_before(self, entry: Entry, now: float) -> Iterator[Event]:
        """Between the last entry and this one."""
        end = self.end
        if end is None:
            return
        missed = entry.position - end.position - 1
        if missed > 0:
            yield self._gap(missed, now)
        elif missed < 0 or entry.previous != end.link:
            yield self._rewritten(entry.position - 1, now)

    def _fault_at_end(self, after: LogEnd, *, is_empty: bool, now: float) -> Iterator[Event]:
        """Where a read found nothing but something had been there, or where the log now ends before what was read."""
        end = self.end or after
        if is_empty and self.reported.position > end.position:
            yield self._gap(self.reported.position - end.position, now)
            self.end = end = self.reported
        if after.position < end.position or (after.position == end.position and after.link != end.link):
            yield self._rewritten(after.position, now)
            self.end = after

    def _gap(self, missed: int, now: float) -> Event:
        words = (
            f"GAP: {missed} entr{'y' if missed == 1 else 'ies'} after position {self.position} trimmed before they were read"
        )
        return self._event("gap", now, words, missed=missed)

    def _rewritten(self, resumes_after: int, now: float) -> Event:
        words = f"HISTORY REWRITTEN: the log no longer leads to position {self.position}; going on after {resumes_after}"
        return self._event("rewritten", now, words, resumes_after=resumes_after)

    def _event(self, name: Name, now: float, words: str, **told: object) -> Event:
        return Event(name, now, self.position, told, words)


def _end_of(entry: Entry) -> LogEnd:
    return LogEnd(entry.position, entry.link, entry.cursor)


def _told(entry: Entry, now: float) -> Event:
    """An entry, which holds all that is ruled on its handle from there on."""
    digest = entry.digest.hex()
    try:
        ruling = Ruling.decode(entry.ruling)
    except UnreadableRuling:
        told: dict[str, object] = {"at": None, "digest": digest, "ruling": None}
        return Event("entry", now, entry.position, told, f"{moment(now)}  #{entry.position}  {digest}  not readable")
    at = _written_at(ruling, entry.position)
    words = f"{moment(now if at is None else at)}  #{entry.position}  {digest}  {'; '.join(_in_words(ruling))}"
    return Event("entry", now, entry.position, {"at": at, "digest": digest, "ruling": _as_dict(ruling)}, words, ruling)


def _written_at(ruling: Ruling, position: int) -> float | None:
    """When the entry was written, where what it wrote carries a time."""
    parts = (ruling.toggle, ruling.not_before)
    return max((part.at for part in parts if part is not None and part.position == position), default=None)


def _in_words(ruling: Ruling) -> Iterator[str]:
    toggle, cut = ruling.toggle, ruling.not_before
    if toggle is not None:
        yield "revoked" if toggle.is_revoked else "lifted"
    if cut is not None:
        yield f"dead what was issued before #{cut.position} ({moment(cut.at)})"
    if ruling.cut_at is not None:
        yield f"dead what began by {moment(ruling.cut_at)}"
    if ruling.min_version is not None:
        yield f"dead versions below {ruling.min_version}"
    yield "for good" if ruling.until is None else f"until {until(ruling.until)}"


def _as_dict(ruling: Ruling) -> dict[str, object]:
    toggle, cut = ruling.toggle, ruling.not_before
    return {
        "revoked": None if toggle is None else toggle.is_revoked,
        "revoked_at": None if toggle is None else toggle.at,
        "not_before": None if cut is None else cut._asdict(),
        "cut_at": ruling.cut_at,
        "min_version": ruling.min_version,
        "until": ruling.until,
    }
