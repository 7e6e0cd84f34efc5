"""Several partitions of one view: each is followed by itself, and none vouches for another."""

from __future__ import annotations

import threading

from jwtgate.core.followed import Followed
from jwtgate.core.history import Entry, Epoch, LogEnd, Written
from jwtgate.core.known import Known, Place
from jwtgate.core.lru import Admitted
from jwtgate.core.partitioning import partition_of_session, partition_of_user
from jwtgate.core.rulings import Ruling, Toggle
from jwtgate.core.sessions.stored import KeptSession
from jwtgate.core.view import View

EVERYBODY = bytes(16)
RULED = Ruling(Toggle(is_revoked=True, epoch="E", position=1, at=1.0)).encode()


def handle(partition: int, number: int) -> bytes:
    """One of that partition, of two."""
    return partition.to_bytes(2) + number.to_bytes(14)


def end(position: int) -> LogEnd:
    return LogEnd(position, f"l{position}", str(position))


def both(rulings_limit: int = 10, grace_seconds: float = 0.0) -> tuple[View, Followed, Followed]:
    view = View(
        threading.Lock(),
        lease_seconds=1.0,
        grace_seconds=grace_seconds,
        admitted_limit=9,
        rulings_limit=rulings_limit,
        wide_handles=frozenset({EVERYBODY}),
        partitions=2,
    )
    return view, Followed(view, 0), Followed(view, 1)


def test_what_one_partition_crowds_out_of_another_is_missed_until_that_one_is_loaded_anew() -> None:
    """R1: a view that is full says so of every partition: what found no room may be any one's."""
    view, first, second = both(rulings_limit=10)
    second.load({handle(1, number): RULED for number in range(5)}, "E", end(5))
    first.load({handle(0, number): RULED for number in range(8)}, "E", end(8))
    assert not view.is_complete
    for number in range(8):
        del view.rulings[handle(0, number)]  # as purged
    first.load({}, "E", end(8))
    assert not view.known([handle(1, 4)]).is_complete
    second.load({handle(1, number): RULED for number in range(5)}, "E", end(5))
    assert view.known([handle(1, 4)]) == Known((Place(0, "E", 8), Place(1, "E", 5)), [RULED])


def test_ruling_that_found_no_room_is_missed_until_its_own_partition_is_loaded_anew() -> None:
    """R1: another's load brings back only what is that one's."""
    view, first, second = both(rulings_limit=1)
    for each in (first, second):
        each.load({}, "E", end(4))
    second.apply([Entry(5 + number, f"l{5 + number}", f"l{4 + number}", "", handle(1, number), RULED) for number in range(2)])
    assert not view.is_complete
    view.rulings.clear()  # as purged
    first.load({}, "E", end(4))
    assert not view.known([handle(1, 1)]).is_complete
    second.load({handle(1, 1): RULED}, "E", end(6))
    assert view.known([handle(1, 1)]) == Known((Place(0, "E", 4), Place(1, "E", 6)), [RULED])


def test_load_of_one_partition_forgets_no_ruling_that_was_written_here_in_another() -> None:
    """R3: it was promised as known here before its log was read so far, and a fill from before it comes too late."""
    view, first, second = both()
    revoked = handle(1, 1)
    for each in (first, second):
        each.load({}, "E", end(4))
        each.grant(100.0)
    before = Known((Place(0, "E", 4), Place(1, "E", 4)), [None])
    view.learn(Written(Epoch("E", 1.0, 1.0, True, True), end(5), 0.0, (RULED,), (), partition=1), [revoked])
    first.load({}, "E", end(4))
    first.grant(100.0)
    assert view.is_live(100.5)
    entry = Admitted(None, 1e9, (revoked,))  # type: ignore[arg-type]
    assert not view.admit(b"key", entry, before, (revoked, EVERYBODY), 100.5)


def test_view_is_trusted_no_longer_than_the_partition_heard_of_least_lately() -> None:
    """R1, F2: any of them may hold the ruling on a token, so lease and grace are the least of theirs."""
    view, first, second = both(grace_seconds=3.0)
    for each in (first, second):
        each.load({}, "E", end(4))
    first.grant(100.0)
    assert not view.is_live(100.1) and view.grace_until < 0
    second.grant(100.4)
    assert view.is_live(100.9) and not view.is_live(101.0)
    assert view.grace_until == 104.0
    first.grant(100.8)
    assert view.is_live(101.3) and not view.is_live(101.4)
    second.fence()
    assert not view.is_live(100.9) and first.is_live(100.9)


def test_follower_writes_back_what_is_of_its_partition_alone() -> None:
    """H1: rulings, and sessions that stand there with the list of their user."""
    view, first, second = both()
    assert not first.has_rulings() and not second.has_rulings()
    mine, other = {handle(0, 1): RULED}, {handle(1, 1): RULED, handle(1, 2): RULED}
    second.load(other, "E", end(2))
    assert not first.has_rulings() and first.rulings() == {}
    first.load(mine, "E", end(1))
    assert (first.rulings(), second.rulings()) == (mine, other)
    assert first.has_rulings() and second.has_rulings()
    kept = [KeptSession(f"{number:022}", bytes([number]) * 16, b"") for number in range(64)]
    taken = {each.index: [one for one in kept if each.takes_back(one)] for each in (first, second)}
    for index, sessions in taken.items():
        assert sessions == [
            one for one in kept if {partition_of_session(one.sid, 2), partition_of_user(one.user, 2)} == {index}
        ]
        assert 0 < len(sessions) < len(kept) / 2


def test_follower_that_was_stopped_grants_nothing() -> None:
    """W4: its answer may have come the moment before; a follower that starts afterwards does."""
    view, first, second = both()
    for each in (first, second):
        each.load({}, "E", end(4))
    view.give_up()
    for each in (first, second):
        each.grant(100.0)
    assert not view.is_live(100.5)
    for index in (0, 1):
        Followed(view, index).grant(100.0)
    assert view.is_live(100.5)
