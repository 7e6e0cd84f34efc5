"""Several partitions as one store: for requests and revocations. Each partition is followed by itself (``parts``).

Which partition holds what is ``core.partitioning``'s rule; so whatever must be one atomic step is one step here, of one
partition. Invariants of what takes several:

  * A look-up asks partition 0 last: what sessions elsewhere may be ruled by is read after the sessions, so it can only be
    stricter; and the position that stamps what is made next is one that was read in this call.
  * A write touches partition 0 first, where cut-offs stand. If a later step fails the call raises, and what was done stands:
    a session that could not be taken away is dead by its cut-off.
  * Whatever others must hear is written only where partition 0 has answered this very call: it knows how many partitions
    there are, and the others may be of nobody's making but a mistaken caller's.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from jwtgate.core.history import Facts, NotDurable, NotWritten
from jwtgate.core.partitioning import partition_of, partition_of_mark, partition_of_session, partition_of_user
from jwtgate.core.rulings import UnreadableRuling, is_revoked
from jwtgate.core.sessions.stored import MOST_LISTED, Guard
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from jwtgate.core.history import Epoch, LogEnd, Marked, MarkPage, Worker, Written
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import SessionChange, StoredSession
    from jwtgate.stores.contract import Feed, Store, Weakness

__all__ = ["PartitionedStore"]


class PartitionedStore:
    """See the module. ``parts``: a store for each partition, in order."""

    def __init__(self, parts: tuple[Store, ...]) -> None:
        self.parts = parts

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """One round trip for each partition that holds any of these, or a session at a provider that they hang on, and one for
        partition 0."""
        wanted = [_Wanted() for _ in self.parts]
        for digest in digests:
            wanted[self._of(digest)].digests.append(digest)
        for sid in sids:
            wanted[partition_of_session(sid, len(self.parts))].sids.append(sid)
        answers = {
            index: self.parts[index].look_up(each.digests, each.sids)
            for index, each in enumerate(wanted)
            if index and (each.digests or each.sids)
        }
        found = {session.sid: session for facts in answers.values() for session in facts.sessions if session is not None}
        answers[0] = self._partition_0(wanted[0], found.values())
        rulings: dict[bytes, bytes | None] = {}
        for index, facts in answers.items():
            rulings.update(zip(wanted[index].digests, facts.rulings, strict=True))
            found.update((session.sid, session) for session in facts.sessions if session is not None)
        further = self._further(found.values(), rulings)
        return self._together(
            answers,
            further,
            rulings=tuple(rulings[digest] for digest in digests),
            sessions=tuple(self._ruled(found[sid], rulings) if sid in found else None for sid in sids),
            homes=tuple(answers[partition_of_session(sid, len(self.parts))].epoch for sid in sids),
        )

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """One round trip, one for partition 0, and those for sessions at a provider."""
        index = partition_of_user(user, len(self.parts))
        facts = self.parts[index].sessions_of(user, offset, limit)
        listed = [session for session in facts.sessions if session is not None]
        answers, wanted = {index: facts}, _Wanted()
        if index:
            answers[0] = self._partition_0(wanted, listed)
        rulings = dict(zip(wanted.digests, answers[0].rulings, strict=True)) if index else {}
        further = self._further(listed, rulings)
        sessions = tuple(self._ruled(session, rulings) for session in listed)
        return self._together(answers, further, rulings=(), sessions=sessions, homes=(facts.epoch,) * len(sessions))

    def _partition_0(self, wanted: _Wanted, sessions: Iterable[StoredSession]) -> Facts:
        """Asks it for what is wanted, and for what it says of the handles of sessions that stand elsewhere."""
        known = set(wanted.digests)
        for session in sessions:
            for handle in session.handles:
                if self._of(handle) == 0 and handle not in known:
                    known.add(handle)
                    wanted.digests.append(handle)
        return self.parts[0].look_up(wanted.digests, wanted.sids)

    def _further(self, sessions: Iterable[StoredSession], rulings: dict[bytes, bytes | None]) -> list[Facts]:
        """Asks further partitions for what they say of such handles, and puts it to the rulings.

        Of a session at a provider, that one of ours hangs on, the handle may stand anywhere.
        """
        wanted: dict[int, dict[bytes, None]] = {}
        for session in sessions:
            known = (0, partition_of_session(session.sid, len(self.parts)))
            for handle in session.handles:
                if self._of(handle) not in known and handle not in rulings:
                    wanted.setdefault(self._of(handle), {})[handle] = None
        further: list[Facts] = []
        for index, digests in wanted.items():
            facts = self.parts[index].look_up(tuple(digests))
            rulings.update(zip(digests, facts.rulings, strict=True))
            further.append(facts)
        return further

    def _ruled(self, session: StoredSession, rulings: dict[bytes, bytes | None]) -> StoredSession:
        """With the rulings of other partitions beside those of its own."""
        told = zip(session.handles, session.rulings, strict=True)
        return replace(session, rulings=tuple(rulings.get(handle, ruling) for handle, ruling in told))

    def _together(
        self,
        answers: dict[int, Facts],
        further: list[Facts],
        *,
        rulings: tuple[bytes | None, ...],
        sessions: tuple[StoredSession | None, ...],
        homes: tuple[Epoch, ...],
    ) -> Facts:
        first = answers[0]
        return Facts(
            epoch=replace(first.epoch, is_healed=all(facts.epoch.is_healed for facts in (*answers.values(), *further))),
            end=first.end,
            rulings=rulings,
            sessions=sessions,
            at=max(facts.at for facts in answers.values()),
            others=tuple((index, facts.epoch, facts.end) for index, facts in answers.items() if index),
            homes=homes,
        )

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """One step for each partition that is changed, each with what of the guard stands there."""
        guard = guard or Guard()
        steps = self._steps(changes, sessions, guard)
        foreign = tuple(digest for digest in guard.not_revoked if self._of(digest) not in steps)
        stamped = ""
        is_unasked = bool(changes) and 0 not in steps
        if is_unasked or foreign or any(step.creates for index, step in steps.items() if index):
            facts = self.look_up(foreign)
            try:
                is_held_back = any(map(is_revoked, facts.rulings))
            except UnreadableRuling as error:
                raise StoreUnavailable("a stored ruling cannot be read") from error
            if is_held_back:
                return None
            stamped = f"{facts.epoch.name}:{facts.end.position}"
        done: list[Written] = []
        shortfall: NotDurable | None = None
        for index, step in steps.items():
            stamp = stamped if index else ""
            put = tuple(replace(each, stamp=stamp) for each in step.sessions)
            try:
                with _after(done):
                    written = self.parts[index].write(step.changes, now, put, step.guard)
            except NotDurable as error:  # it stands, and so must the rest
                written, shortfall = error.written, error
            if written is None:
                if done:
                    raise StoreUnavailable("what was to be changed in several partitions changed meanwhile in one")
                return None
            if step.changes or not done:
                done.append(replace(written, partition=index, stamped=stamp))
        whole = replace(done[0], others=tuple(done[1:]))
        if shortfall is not None:
            raise NotDurable(whole, str(shortfall)) from shortfall
        return whole

    def _steps(self, changes: Sequence[Change], sessions: Sequence[SessionChange], guard: Guard) -> dict[int, _Step]:
        """In the order they are taken; at least one."""
        steps: dict[int, _Step] = {}
        for change in changes:
            steps.setdefault(self._of(change.digest), _Step()).changes.append(change)
        for each in sessions:
            steps.setdefault(partition_of_session(each.sid, len(self.parts)), _Step()).sessions.append(each)
        user_index = None if guard.user is None else partition_of_user(guard.user, len(self.parts))
        if user_index is not None or not steps:
            steps.setdefault(user_index or 0, _Step())
        for index, step in steps.items():
            here = tuple(digest for digest in guard.not_revoked if self._of(digest) == index)
            is_listed_here = index == user_index
            seen = tuple(each for each in guard.toggled_at if self._of(each[0]) == index)
            user, sids = (guard.user, guard.sids) if is_listed_here else (None, frozenset[str]())
            step.guard = Guard(here, user, sids, seen)
        return dict(sorted(steps.items()))

    def _of(self, digest: bytes) -> int:
        return partition_of(digest, len(self.parts))

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """In the one partition that the name selects."""
        return self.parts[partition_of_mark(name, len(self.parts))].mark(group, name, value, until, now)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """One partition after the other; a page is of one."""
        index, _, rest = (after or "0:").partition(":")
        if not index.isdecimal() or int(index) >= len(self.parts):
            raise StoreUnavailable("the cursor is of another store")
        here = int(index)
        page = self.parts[here].marks(group, rest or None, limit)
        if page.after is not None:
            return replace(page, after=f"{here}:{page.after}")
        return replace(page, after=f"{here + 1}:" if here + 1 < len(self.parts) else None)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Those of partition 0."""
        return self.parts[0].workers()

    def feed(self) -> Feed:
        """That of partition 0."""
        return self.parts[0].feed()

    def forget(self, worker: Worker) -> None:
        """In partition 0."""
        self.parts[0].forget(worker)

    def audit(self) -> tuple[Weakness, ...]:
        """What is weak about any, each once."""
        return tuple(dict.fromkeys(weakness for part in self.parts for weakness in part.audit()))

    def reset_after_fork(self) -> None:
        """All of them."""
        for part in self.parts:
            part.reset_after_fork()

    def close(self) -> None:
        """All of them."""
        for part in self.parts:
            part.close()


@contextmanager
def _after(done: list[Written]) -> Generator[None]:
    """A step that was refused says nothing of those before it."""
    try:
        yield
    except NotWritten as error:
        if done:
            raise StoreUnavailable(str(error)) from error
        raise


class _Wanted:
    """What one partition is asked."""

    __slots__ = ("digests", "sids")

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.sids: list[str] = []


class _Step:
    """What changes in one partition."""

    __slots__ = ("changes", "guard", "sessions")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.sessions: list[SessionChange] = []
        self.guard = Guard()

    @property
    def creates(self) -> bool:
        """Whether it makes a session, which needs a stamp."""
        return any(each.record is not None and each.expected is None for each in self.sessions)
