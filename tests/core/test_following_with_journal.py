"""The follower's plan where there is a journal: nothing is healed before all that it remembers was put back."""

from __future__ import annotations

from core.scripted import START, ScriptedServer, Time
from core.test_following import Follower

from jwtgate.core.effects import OpenJournal, Pause, Renew, Restore, RestoreSessions
from jwtgate.core.healing import NO_JOURNAL, SESSIONS_PER_BATCH
from jwtgate.core.rulings import Change, Ruling, Toggle
from jwtgate.core.sessions.stored import KeptSession

A, B = b"a" * 16, b"b" * 16
USER = b"u" * 16


def revoked(position: int = 1, *, until: float | None = None) -> bytes:
    """A ruling of an epoch that is gone."""
    return Ruling(Toggle(True, "gone", position, START), until=until).encode()


def kept(number: int, *, seconds: float = 1000.0) -> KeptSession:
    """A session of an epoch that is gone."""
    return KeptSession(f"sid{number}", USER, b"record", "gone:1", (A,), START, START + seconds, 0)


def with_journal(
    rulings: dict[bytes, bytes] | None = None, sessions: int = 0, server: ScriptedServer | None = None, **options: str
) -> Follower:
    """A process that knows nothing but has a journal, on a server whose history nobody can vouch for."""
    follower = Follower(server or ScriptedServer(Time()), **options)
    follower.following.has_journal = True
    follower.store.journal = dict(rulings or {})
    follower.store.journal_sessions = [kept(number) for number in range(sessions)]
    return follower


def record(follower: Follower):
    """The epoch record."""
    found = follower.server.record
    assert found is not None
    return found.epoch


def test_fresh_process_puts_back_rulings_and_sessions_before_the_epoch_is_healed() -> None:
    """L1, L3: and only then two leases of watching begin to count."""
    follower = with_journal({A: revoked(), B: revoked(2)}, 3)
    follower.to(Restore)
    assert not record(follower).is_healed
    follower.live()
    assert set(follower.view.rulings) == {A, B}
    assert record(follower).is_restored
    now = follower.server.now()
    found = [follower.server.sessions.find(f"sid{number}", now, {}) for number in range(3)]
    assert [each and each.stamp for each in found] == ["gone:1"] * 3
    assert follower.kinds().index("RestoreSessions") < follower.kinds().index("OpenPages", follower.kinds().index("Restore"))


def test_empty_journal_is_read_all_the_same() -> None:
    """That it holds nothing is something to know."""
    follower = with_journal().live()
    assert record(follower).is_restored
    assert [effect for effect in follower.taken if isinstance(effect, RestoreSessions)] == [
        RestoreSessions(record(follower).name, (), is_last=True)
    ]


def test_healer_is_announced_until_the_journal_is_through() -> None:
    """In a gap another process would call the epoch healed."""
    follower = with_journal({number.to_bytes(16, "big"): revoked() for number in range(900)}, 700)
    follower.to(RestoreSessions)
    while not record(follower).is_restored:
        follower.step()
    renewals = [effect for effect in follower.taken if isinstance(effect, Renew)]
    assert [effect.worker.is_healing for effect in renewals] == [False] + [True] * (len(renewals) - 1)
    assert not any(effect.healed for effect in renewals)
    assert not follower.live().following.worker.is_healing


def test_sessions_go_back_in_short_batches() -> None:
    """Nobody else's request waits long for one."""
    follower = with_journal(sessions=2 * SESSIONS_PER_BATCH + 1).live()
    batches = [len(effect.sessions) for effect in follower.taken if isinstance(effect, RestoreSessions)]
    assert batches == [SESSIONS_PER_BATCH, SESSIONS_PER_BATCH, 1, 0]


def test_journal_that_does_not_answer_keeps_the_epoch_unhealed_and_says_so_once() -> None:
    """Fail closed, for as long as it takes; the feed goes on renewing as a healer."""
    follower = with_journal({A: revoked()}, 1)
    follower.store.is_journal_down = True
    conditions = []
    for _ in range(300):
        follower.step()
        conditions.append(follower.following.condition)
    assert follower.time.now > 10.0
    assert not record(follower).is_healed and not record(follower).is_restored
    said = [condition for condition, before in zip(conditions[1:], conditions, strict=False) if condition != before]
    assert said.count(NO_JOURNAL) == 1 and conditions[-1] == NO_JOURNAL
    assert follower.following.worker.is_healing
    follower.store.is_journal_down = False
    follower.live()
    assert set(follower.view.rulings) == {A}
    assert follower.following.condition == "following"


def test_journal_that_fails_half_way_is_read_again() -> None:
    """Half of it is as good as nothing."""
    follower = with_journal({A: revoked()}, SESSIONS_PER_BATCH + 1)
    follower.after(RestoreSessions)
    follower.store.is_journal_down = True
    for _ in range(50):
        follower.step()
    assert not record(follower).is_restored
    follower.store.is_journal_down = False
    follower.live()
    assert record(follower).is_restored


def test_pauses_for_a_journal_are_short() -> None:
    """F4: a quarter of the lease at the most."""
    follower = with_journal()
    follower.store.is_journal_down = True
    while follower.following.condition != NO_JOURNAL:
        follower.step()
    assert isinstance(follower.effect, Pause) and follower.effect.seconds <= 0.25


def test_what_another_process_has_put_back_is_not_read_again() -> None:
    """One reader of the journal is enough."""
    first = with_journal({A: revoked()}, 1).live()
    second = with_journal(server=first.server, name="other").live()
    assert "OpenJournal" not in second.kinds()
    assert set(second.view.rulings) == {A}


def test_second_healer_stops_reading_once_the_first_is_through() -> None:
    """Whoever comes first."""
    first = with_journal({A: revoked()}, 1)
    second = with_journal({A: revoked()}, 1, server=first.server, name="other")
    second.to(OpenJournal)
    while not record(first).is_restored:
        first.step()
    second.live()
    assert not any(isinstance(effect, RestoreSessions) for effect in second.taken)


def test_epoch_that_was_healed_without_a_journal_is_restored_before_going_live() -> None:
    """Who healed it could not know; those who are live go on meanwhile, and read in the log what they lacked."""
    server = ScriptedServer(Time(), is_own=True)
    without = Follower(server).live()
    follower = with_journal({A: revoked()}, 1, server)
    follower.after(RestoreSessions)
    assert not follower.is_live
    follower.live()
    assert record(follower).is_restored
    while A not in without.view.rulings:
        without.step()
    assert without.is_live


def test_new_epoch_is_restored_anew() -> None:
    """What was put back can be lost again; what the process knows itself is written back as well."""
    follower = with_journal({A: revoked()}, 1).live()
    follower.write(B)
    for _ in range(6):
        follower.step()
    assert B in follower.view.rulings
    follower.server.flush()
    for _ in range(6):
        follower.step()
    assert not follower.is_live
    follower.live()
    assert set(follower.server.rulings) == {A, B}
    assert record(follower).is_restored


def test_ruling_written_in_the_new_epoch_stands_over_the_journals() -> None:
    """Whatever clocks say: the journal's text is merged as that of a past epoch."""
    follower = with_journal({A: Ruling(Toggle(True, "gone", 9, START + 1000.0)).encode()})
    follower.store.write([Change(A, revoked=False)], follower.server.now())
    follower.live()
    ruling = Ruling.decode(follower.view.rulings[A])
    assert ruling.toggle is not None and not ruling.toggle.is_revoked


def test_ruling_that_changes_while_the_journal_is_read_is_taken_anew() -> None:
    """The snapshot is old by then: once more, and nothing is lost of either."""
    follower = with_journal({A: Ruling(min_version=3).encode()})
    follower.to(Restore)
    follower.store.write([Change(A, min_version=2)], follower.server.now())
    follower.live()
    assert Ruling.decode(follower.view.rulings[A]).min_version == 3


def test_journals_unreadable_and_expired_rulings_are_left_out() -> None:
    """They can be under no token, or nobody can say what they say."""
    follower = with_journal({A: b"not ours", B: revoked(until=START - 1.0)}).live()
    assert follower.server.rulings == {}


def test_epoch_that_changes_under_the_healer_is_begun_anew() -> None:
    """H1: each batch compares the epoch."""
    for kind in (Restore, OpenJournal, RestoreSessions):
        follower = with_journal({A: revoked()}, 1)
        follower.to(kind)
        follower.server.flush()
        follower.live()
        assert set(follower.server.rulings) == {A}
        assert record(follower).is_restored
        assert follower.server.sessions.find("sid0", follower.server.now(), {}) is not None


def test_process_with_another_lease_reads_no_journal() -> None:
    """H3: it does not follow, so it heals nothing either."""
    server = ScriptedServer(Time())
    with_journal(server=server).step()
    other = Follower(server, lease=2.0, reach=2.0, name="other")
    other.following.has_journal = True
    for _ in range(20):
        other.step()
    assert "OpenJournal" not in other.kinds()
