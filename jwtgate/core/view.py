"""One process's knowledge: live rulings, the place in each change log, the lease, the admitted tokens.

Invariant: while ``now < lease_until`` (boot clock), every ruling acknowledged to anybody before ``lease_until`` minus one
lease is applied here: it is in ``rulings`` (or the view is incomplete) and nothing in ``admitted`` carries its handle.
So a hit needs two comparisons and no lock, and a message of a live connection no more: what is evicted is doubted there. A
store has one or more partitions, each with a log and a history of its own; what a follower knows of one is a ``Part``, which
``core.followed`` moves, and the lease of the view is the least of theirs.

The rules of the protocol kept here and, as far as ``load``, ``grant``, ``apply`` and ``fence`` go, in ``core.followed``:

F1  ``load`` installs a snapshot and clears the admitted tokens; until then the view is not live. An empty view never means
    "not revoked". A reload merges: knowledge is never given up, whether or not history was lost.
F3  ``grant`` counts the lease from the moment the read was sent; liveness is a comparison at decision time, never a timer.
F4  ``apply`` and ``admit`` run under the same lock; the position moves only after the evictions.
R1  ``fence`` and a lapsed lease stop admission from memory; ``rulings`` go on refusing.
R3  ``admit`` refuses a late fill: facts of another epoch, older than what is remembered, or ruled on since.
W4  ``give_up`` ends the lease and the grace before the worker deregisters.

Reads no clock: times are arguments. Decides no request: ``core.gate`` does.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.history import Entry, Written
from jwtgate.core.known import Known, Part, Rulings
from jwtgate.core.live import LiveConnections, Lock
from jwtgate.core.lru import Admitted, AdmittedTokens
from jwtgate.core.partitioning import partition_of
from jwtgate.core.rulings import Ruling, UnreadableRuling, merge
from jwtgate.core.sessions.seen import SeenSessions
from jwtgate.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from jwtgate.core.statuses.held import HeldList

__all__ = ["View"]

RECENT_LIMIT = 4096
"""Handles ruled on most recently, remembered with their positions for late fills (R3): half a MiB at the most, and at 1,000
rulings a second still four seconds, longer than any look-up may take."""


class View:
    """See the module. ``lock`` guards every method that says so."""

    def __init__(  # noqa: PLR0913  # bounds and spans, each named
        self,
        lock: Lock,
        *,
        lease_seconds: float,
        grace_seconds: float,
        admitted_limit: int,
        rulings_limit: int,
        wide_handles: frozenset[bytes],
        session_seconds: float = 0.0,
        partitions: int = 1,
        tally: Tally | None = None,
    ) -> None:
        """Args: wide_handles: digests of the issuer-wide handles and of all keys' that verify: a ruling on one of them clears
        the admitted tokens, and only under a key whose handle is there is anything remembered.

        session_seconds: the longest life of a session: a ruling that the store lost is remembered for one.
        """
        self.lock = lock
        self.lease_seconds, self.grace_seconds = lease_seconds, grace_seconds
        self.rulings_limit = rulings_limit
        self.wide_handles = wide_handles
        self.session_seconds = session_seconds
        self.lease_until = self.grace_until = -inf
        self.rulings = Rulings()
        self.admitted = AdmittedTokens(admitted_limit)
        self.live = LiveConnections(lock)
        self.seen = SeenSessions(admitted_limit)
        self.recent: OrderedDict[bytes, int] = OrderedDict()
        self._to_purge: Iterator[tuple[bytes, bytes]] | None = None
        self.parts = tuple(Part(index) for index in range(partitions))
        self.lives = 0
        self.tally = Tally() if tally is None else tally

    @property
    def is_complete(self) -> bool:
        """Whether it holds every live ruling."""
        return self.rulings.is_complete

    def is_live(self, now: float) -> bool:
        """Whether memory alone may admit at boot time ``now`` (R1)."""
        return now < self.lease_until

    def known(self, digests: Collection[bytes]) -> Known:
        """What memory says. The positions are read first: what is applied meanwhile makes the answer only stricter."""
        places = tuple(self.parts[index].place() for index in self._holders(digests))
        rulings = self.rulings
        return Known(places, [rulings.get(digest) for digest in digests], rulings.is_complete)

    def _holders(self, digests: Collection[bytes]) -> Collection[int]:
        """Partition 0, and the others that hold one of these."""
        partitions = len(self.parts)
        return (0,) if partitions == 1 else sorted({0, *map(self._holder, digests)})

    # --- the followers' side

    def give_up(self) -> None:
        """W4: neither lease nor grace, nothing admitted, and nothing granted by those who followed so far; takes the lock."""
        with self.lock:
            self.lives += 1
            for part in self.parts:
                part.lease_until = part.grace_until = -inf
                part.granted_at = None
            self.sum_up()
            self.admitted.clear()

    def forget_admitted(self) -> None:
        """Clears the admitted tokens: the wall clock stepped, their deadlines mean nothing."""
        with self.lock:
            self._forget_all()

    def turn_to(self, wide_handles: frozenset[bytes]) -> None:
        """Other keys verify from now on: what was admitted under those that are gone is forgotten; takes the lock.

        A late fill under one of them finds that its handle is not among the wide ones any more.
        """
        with self.lock:
            gone = self.wide_handles - wide_handles
            self.wide_handles = wide_handles
            if gone:
                self._forget_all()
            self.live.resume(inf)

    def turn_list(self, before: HeldList, held: HeldList | None) -> None:
        """Another status list in place of one that vouched for tokens: those that it is against are forgotten; takes the lock.

        Who read the one before and comes late is not remembered. To look through the tokens takes long, and disturbs nobody.
        Args: held: the new one, which requests find already; None: there is none any more.
        """
        with self.lock:
            before.is_over = True
            found = self.admitted.under(before.handle)
        dead = [each for each in found if held is None or held.is_against(each[1])]
        with self.lock:
            for key, entry in dead:
                self.admitted.remove(key, entry)
            connected = self.live.under(before.handle)  # not before: until here one may rest on what was remembered
        doubtful = [live for live in connected if held is None or held.is_against(live.entry)]
        with self.lock:
            for live in doubtful:
                live.doubt()

    def learn(self, written: Written, digests: Iterable[bytes]) -> None:
        """Applies this process's own write at once; the followers will meet it again in the log. Takes the lock."""
        waiting: dict[int, list[bytes]] = {}
        for digest in digests:
            waiting.setdefault(self._holder(digest), []).append(digest)
        with self.lock:
            for step in written.parts:
                part, wrote = self.parts[step.partition], (step.epoch.name, step.end.position)
                if wrote[0] != part.written[0] or wrote[1] > part.written[1]:
                    part.written = wrote
                position = step.end.position - len(step.rulings)
                for digest, text in zip(waiting.get(step.partition, ()), step.rulings, strict=True):
                    position += 1
                    self.rule(part, Entry(position, "", "", "", digest, text), step.epoch.name)

    def purge(self, now: float, slice_size: int) -> bool:
        """Forgets rulings that no token can be under any more: looks at the next slice, says whether more is left.

        Args: now: wall clock, seconds. slice_size: rulings to look at.
        """
        if self._to_purge is None:
            self._to_purge = iter(self.rulings.copy().items())
        batch = list(islice(self._to_purge, slice_size))
        for digest, text in batch:
            try:
                until = Ruling.decode(text).until
            except UnreadableRuling:
                continue
            if until is not None and until < now:
                with self.lock:
                    if self.rulings.get(digest) == text:
                        del self.rulings[digest]
        if len(batch) < slice_size:
            self._to_purge = None
        return self._to_purge is not None

    # --- the requests' side

    def admit(
        self,
        key: bytes,
        entry: Admitted,
        facts: Known,
        handles: Sequence[bytes],
        now: float,
        listed: HeldList | None = None,
    ) -> bool:
        """R3: remembers a verified token unless something was ruled on it since ``facts``; one step under the lock.

        Args:
            key: digest of token and source.
            entry: the verified token.
            facts: what the verdict was based on.
            handles: all digests of the token, the issuer-wide one too, its key's last.
            now: boot clock.
            listed: the status list that vouched for it.
        """
        with self.lock:
            if not now < self.lease_until or handles[-1] not in self.wide_handles or not self._is_current(facts, handles):
                return False
            if listed is not None and listed.is_over:
                return False
            self.admitted.insert(key, entry)
        if not entry.is_seen:
            self.seen.note(entry)
        return True

    # --- under the lock

    def _forget_all(self) -> None:
        self.admitted.clear()
        self.live.doubt_all()

    def _is_current(self, facts: Known, handles: Iterable[bytes]) -> bool:
        """R3: of this history, and nothing ruled on any of the handles since."""
        positions: dict[int, int] = {}
        for index, epoch, position in facts.places:
            part = self.parts[index]
            if epoch != part.epoch or position < part.recent_floor:
                return False
            positions[index] = position
        recent = self.recent
        if recent.keys().isdisjoint(handles):  # nearly always
            return True
        return all(recent.get(each, -1) <= positions.get(self._holder(each), -1) for each in handles)

    def _holder(self, digest: bytes) -> int:
        return partition_of(digest, len(self.parts))

    def sum_up(self) -> None:
        """The view is trusted as long as each partition is: one that is not heard of may hold any token's ruling."""
        self.lease_until = min(part.lease_until for part in self.parts)
        self.grace_until = min(part.grace_until for part in self.parts)

    def forget_recent(self) -> None:
        """Nothing admitted, and no late fill from before now.

        What this process wrote itself is among the recent before its partition's log is read so far.
        """
        self.admitted.clear()
        for digest, position in self.recent.items():
            self._forget_up_to(digest, position)
        self.recent.clear()
        for part in self.parts:
            if part.end is not None:
                part.recent_floor = max(part.recent_floor, part.end.position)

    def _forget_up_to(self, digest: bytes, position: int) -> None:
        holder = self.parts[self._holder(digest)]
        holder.recent_floor = max(holder.recent_floor, position)

    def rule(self, part: Part, entry: Entry, epoch: str) -> None:
        """F4: one ruling of a partition: evicts under its handle, remembers when, learns it."""
        digest = entry.digest
        is_wide = digest in self.wide_handles
        if is_wide:
            self.admitted.clear()
        else:
            self.admitted.evict(digest)
        self.recent[digest] = max(entry.position, self.recent.pop(digest, -1))
        if len(self.recent) > RECENT_LIMIT:
            self._forget_up_to(*self.recent.popitem(last=False))
        self.learn_ruling(self.rulings, digest, entry.ruling, epoch)
        part.is_complete = part.is_complete and self.rulings.is_complete
        if is_wide:
            self.live.doubt_all()
        else:
            self.live.doubt(digest)

    def learn_ruling(self, rulings: Rulings, digest: bytes, text: bytes, epoch: str) -> None:
        """Merges; of two texts of which one cannot be read the other stands."""
        known = rulings.get(digest)
        if known is None:
            if len(rulings) >= self.rulings_limit:
                rulings.is_complete = False
                return
            rulings[digest] = text
        elif known != text:
            try:
                one = Ruling.decode(known)
            except UnreadableRuling:
                rulings[digest] = text
                return
            with suppress(UnreadableRuling):
                rulings[digest] = merge(one, Ruling.decode(text), epoch).encode()
