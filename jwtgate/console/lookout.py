"""What the console sees while somebody looks: the change log as it grows, the age of each view, how fast rulings spread.

One thread for each gate, started by the first page that asks and ended some time after the last one did. It registers nowhere.
A worker's view is as old as the latest renewal that was seen of it; a ruling has spread once every registered worker has
acknowledged it, counted from when it was read here. Neither is a proof of anything: those are receipts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from jwtgate.console.counting import counted
from jwtgate.errors import StoreUnavailable
from jwtgate.watching import Line, Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.history import Entry, Worker
    from jwtgate.gate import Gate
    from jwtgate.stores.contract import Store
    from jwtgate.watching import Event

__all__ = ["KEPT_SECONDS", "Lookout", "Seen", "Trip"]

IDLE_SECONDS = 120.0
KEPT_SECONDS = 300
"""Of the pictures."""

KEPT_EVENTS = 500
BLOCK_SECONDS = 0.25
RETRY_SECONDS = 0.25
SAMPLE_SECONDS = 1.0
COUNT_SECONDS = 10.0
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.002, 0.05
TRIP_SECONDS = 3.0
"""For so long a ruling is followed; a worker that has not heard of it by then shows as behind."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event of the feed. ``serial`` grows with each."""

    serial: int
    partition: int
    event: Event


@dataclass(frozen=True, slots=True)
class Trip:
    """How long a ruling took to all workers; ``seconds`` None: longer than it was followed."""

    at: float
    seconds: float | None
    workers: int


class _Beats:
    """One worker: when its beat was last seen to change, and the samples of how long that was ago."""

    def __init__(self, beat: int, now: float) -> None:
        self.beat = beat
        self.changed_at = now
        self.seen_at = now
        self.oldest = 0.0
        self.has_beaten = False
        self.samples: deque[tuple[float, float]] = deque(maxlen=KEPT_SECONDS)


class Lookout:
    """See the module. ``events``, ``trips`` and ``ages`` may be read by any thread."""

    def __init__(self, gate: Gate) -> None:
        self.parts, self.clock, self.follower, self.view = gate.parts, gate.clock, gate.follower, gate.view
        self.events: deque[Seen] = deque(maxlen=KEPT_EVENTS)
        self.drawn: dict[int, bytes] = {}
        self.trips: deque[Trip] = deque(maxlen=KEPT_SECONDS)
        self.since: float | None = None
        self.has_caught_up = False
        self.is_away = False
        self._beats: dict[str, _Beats] = {}
        self._serials = count(1)
        self._asked_at = 0.0
        self._next_sample = 0.0
        self._next_count = 0.0
        self._counts: dict[str, int] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Somebody looks: starts the thread, where it is not at work."""
        self._asked_at = time.monotonic()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._work, name="jwtgate-lookout", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be had: the page says that there is nothing to see
                    return
                self._thread = thread

    def after(self, serial: int) -> list[Seen]:
        """Events with a later serial, oldest first."""
        return [seen for seen in tuple(self.events) if seen.serial > serial]

    def draw(self, seen: Seen, drawn: bytes) -> bytes:
        """Keeps what an event looks like as long as the event, in ``drawn``. On a loop's thread."""
        if len(self.drawn) >= 2 * KEPT_EVENTS:
            self.drawn = {serial: known for serial, known in self.drawn.items() if serial > seen.serial - KEPT_EVENTS}
        self.drawn[seen.serial] = drawn
        return drawn

    def counts(self) -> dict[str, int]:
        """How many rulings of each kind are known, as of a few seconds ago."""
        counts = self._counts
        return counted(self.view.rulings) if counts is None else counts

    def age(self, name: str) -> float | None:
        """How old the view of a worker is; None: it has not been seen."""
        beats = self._beats.get(name)
        return None if beats is None else self.clock.boot() - beats.changed_at

    def samples(self, name: str) -> list[tuple[float, float]]:
        """Wall time and age, oldest first."""
        beats = self._beats.get(name)
        return [] if beats is None else list(beats.samples)

    def oldest(self) -> list[tuple[float, float]]:
        """The oldest view of all workers at each time."""
        found: dict[float, float] = {}
        for beats in list(self._beats.values()):
            for at, age in list(beats.samples):
                found[at] = max(age, found.get(at, 0.0))
        return sorted(found.items())

    # --- the thread

    @property
    def _is_wanted(self) -> bool:
        """A gate that was closed has no follower at work, and gets no new connections by this."""
        return self.follower.is_started and time.monotonic() - self._asked_at < IDLE_SECONDS

    def _work(self) -> None:
        self.since, self.has_caught_up = self.clock.wall(), False
        with ExitStack() as stack:
            watches = [
                stack.enter_context(closing(_Watch(part, index, BLOCK_SECONDS / len(self.parts))))
                for index, part in enumerate(self.parts)
            ]
            while self._is_wanted:
                for watch in watches:
                    self._look(watch)
        self._beats.clear()
        self._counts = None

    def _look(self, watch: _Watch) -> None:
        try:
            events, entries, workers = watch.look(self.clock.wall())
        except StoreUnavailable as error:
            if watch.reader is not None and not self.is_away:
                self._note(watch, [watch.reader.away(self.clock.wall(), type(error).__name__)])
            self.is_away = True
            time.sleep(RETRY_SECONDS)
            return
        if self.is_away and watch.reader is not None:
            self._note(watch, [watch.reader.back(self.clock.wall())])
        self.is_away = False
        self._note(watch, events)
        self._sample(workers)
        if entries and self.has_caught_up:
            self._follow(watch, entries[-1].position)
        if not entries:
            self.has_caught_up = True

    def _note(self, watch: _Watch, events: Iterable[Event]) -> None:
        self.events.extend(Seen(next(self._serials), watch.partition, event) for event in events)

    def _sample(self, workers: Iterable[Worker]) -> None:
        now = self.clock.boot()
        for worker in workers:
            beats = self._beats.get(worker.name)
            if beats is None:
                beats = self._beats[worker.name] = _Beats(worker.beat, now)
            if worker.beat != beats.beat:
                if beats.has_beaten:
                    beats.oldest = max(beats.oldest, now - beats.changed_at)
                beats.has_beaten = True
                beats.beat, beats.changed_at = worker.beat, now
            beats.seen_at = now
        if now < self._next_sample:
            return
        self._next_sample, at = now + SAMPLE_SECONDS, self.clock.wall()
        if now >= self._next_count:
            self._next_count, self._counts = now + COUNT_SECONDS, counted(self.view.rulings)
        for name, beats in list(self._beats.items()):
            if now - beats.seen_at > KEPT_SECONDS:
                del self._beats[name]
            elif now - beats.seen_at < SAMPLE_SECONDS and (beats.has_beaten or now - beats.changed_at > SAMPLE_SECONDS):
                beats.samples.append((at, max(beats.oldest, now - beats.changed_at)))
                beats.oldest = 0.0

    def _follow(self, watch: _Watch, position: int) -> None:
        """Until every worker that is there has acknowledged it."""
        began, pause = self.clock.boot(), SHORTEST_PAUSE_SECONDS
        until = time.monotonic() + TRIP_SECONDS
        while time.monotonic() < until:
            try:
                _, _, workers = watch.store.workers()
            except StoreUnavailable:
                return
            loaded = [worker for worker in workers if worker.acknowledged >= 0]
            if all(worker.acknowledged >= position for worker in loaded):
                self.trips.append(Trip(self.clock.wall(), self.clock.boot() - began, len(loaded)))
                return
            self._sample(workers)
            time.sleep(pause)
            pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
        self.trips.append(Trip(self.clock.wall(), None, 0))


class _Watch:
    """One partition's log, read from its beginning."""

    def __init__(self, store: Store, partition: int, block_seconds: float) -> None:
        self.store = store
        self.partition = partition
        self.reader: Reader | None = None
        self._line = Line(store, block_seconds)

    def look(self, now: float) -> tuple[list[Event], tuple[Entry, ...], tuple[Worker, ...]]:
        """What there is to tell, the entries, and who is registered. Raises: StoreUnavailable."""
        if self.reader is None:
            epoch, end, _ = self.store.workers()
            self.reader = Reader(epoch.name, end, from_start=True)
        read = self._line.read(self.reader.cursor)
        return list(self.reader.advance(read.entries, read.epoch, read.end, now)), read.entries, read.workers

    def close(self) -> None:
        """Hangs up."""
        self._line.hang_up()
